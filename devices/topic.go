package devices

import (
	"slices"
	"strings"
)

// devicePlace stands in [Topic.Topic] for the level, or the part of one, by
// which the messages of several instruments are told apart.
const devicePlace = "{device}"

// matches says whether an MQTT topic filter takes in topic (MQTT 3.1.1, 4.7).
func matches(filter, topic string) bool {
	if topic != "" && topic[0] == '$' && filter != "" && (filter[0] == '+' || filter[0] == '#') {
		return false // 4.7.2: wildcards at the beginning leave the broker's own topics alone
	}
	for {
		level, rest, more := strings.Cut(filter, "/")
		if level == "#" {
			return true
		}
		part, left, deeper := strings.Cut(topic, "/")
		switch {
		case level != "+" && level != part:
			return false
		case more && !deeper:
			return rest == "#" // a/# takes in a
		case !more || !deeper:
			return more == deeper
		}
		filter, topic = rest, left
	}
}

// Covers says whether every topic that the filter inner takes in is taken in by
// outer too.
func Covers(outer, inner string) bool {
	if inner != "" && (inner[0] == '$') != (outer != "" && outer[0] == '$') {
		return false
	}
	for {
		level, rest, more := strings.Cut(outer, "/")
		if level == "#" {
			return true
		}
		part, left, deeper := strings.Cut(inner, "/")
		switch {
		case part == "#", level != "+" && level != part:
			return false
		case more && !deeper:
			return rest == "#"
		case !more || !deeper:
			return more == deeper
		}
		outer, inner = rest, left
	}
}

// WithoutCovered takes out the filters that others cover: a broker may send a
// message once for each subscription that takes it in.
func WithoutCovered(filters []string) []string {
	var wide []string
	for _, f := range filters {
		if hasWildcard(f) {
			wide = append(wide, f)
		}
	}
	return slices.DeleteFunc(filters, func(f string) bool {
		return slices.ContainsFunc(wide, func(w string) bool { return w != f && Covers(w, f) })
	})
}

func hasWildcard(filter string) bool { return strings.ContainsAny(filter, "+#") }

// goodFilter says whether the wildcards of a topic filter stand where they may.
func goodFilter(filter string) bool {
	for {
		level, rest, more := strings.Cut(filter, "/")
		if level == "#" {
			return !more
		}
		if level != "+" && strings.ContainsAny(level, "+#") {
			return false
		}
		if !more {
			return true
		}
		filter = rest
	}
}
