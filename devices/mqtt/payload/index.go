package payload

import (
	"slices"
	"sort"

	"offsite/devices"
)

// index finds the places that listen to a topic.
type index struct {
	topics map[string][]place // by topic without wildcards
	wild   []wildcard         // sorted by filter
}

// wildcard is a filter with the places that listen to it.
type wildcard struct {
	filter string
	places []place
}

func newIndex() index { return index{topics: make(map[string][]place)} }

// add lets p listen to filter.
func (x *index) add(filter string, p place) {
	if !devices.HasWildcard(filter) {
		x.topics[filter] = append(x.topics[filter], p)
		return
	}
	for i := range x.wild {
		if x.wild[i].filter == filter {
			x.wild[i].places = append(x.wild[i].places, p)
			return
		}
	}
	x.wild = append(x.wild, wildcard{filter, []place{p}})
}

func (x *index) sort() {
	sort.Slice(x.wild, func(i, j int) bool { return x.wild[i].filter < x.wild[j].filter })
}

// has says whether any place listens to topic.
func (x *index) has(topic string) bool {
	if _, ok := x.topics[topic]; ok {
		return true
	}
	for i := range x.wild {
		if devices.Matches(x.wild[i].filter, topic) {
			return true
		}
	}
	return false
}

// names says whether a place has just this topic or filter.
func (x *index) names(filter string) bool {
	_, ok := x.topics[filter]
	return ok || slices.ContainsFunc(x.wild, func(w wildcard) bool { return w.filter == filter })
}

// places gives all that listen to topic. They must not be changed.
func (x *index) places(topic string) []place {
	found := x.topics[topic]
	for i := range x.wild {
		if devices.Matches(x.wild[i].filter, topic) {
			found = append(found[:len(found):len(found)], x.wild[i].places...)
		}
	}
	return found
}

// points gives the ids of the points whose topics filter takes in.
func (x *index) points(filter string) []string {
	if places, ok := x.topics[filter]; ok {
		return pointsOf(places)
	}
	var points []string
	for topic, places := range x.topics {
		if devices.Matches(filter, topic) {
			points = append(points, pointsOf(places)...)
		}
	}
	for i := range x.wild {
		if devices.Covers(filter, x.wild[i].filter) {
			points = append(points, pointsOf(x.wild[i].places)...)
		}
	}
	return points
}

func pointsOf(places []place) []string {
	points := make([]string, len(places))
	for i := range places {
		points[i] = places[i].point
	}
	return points
}
