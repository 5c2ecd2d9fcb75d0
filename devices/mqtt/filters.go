package mqtt

import (
	"slices"
	"strings"
)

func hasWildcard(filter string) bool { return strings.ContainsAny(filter, "+#") }

// filtersOf gives the topic and every filter with wildcards that takes it in; of
// a deep topic, those with one + or one # only.
func filtersOf(topic string) []string {
	levels := strings.Split(topic, "/")
	filters := []string{topic}
	if len(levels) > 64 {
		return filters
	}
	masks := []int{}
	if len(levels) <= 5 {
		for mask := 1; mask < 1<<len(levels); mask++ {
			masks = append(masks, mask)
		}
	} else {
		for i := range levels {
			masks = append(masks, 1<<i)
		}
	}
	seen := map[string]bool{topic: true}
	add := func(filter string) {
		if !seen[filter] {
			seen[filter] = true
			filters = append(filters, filter)
		}
	}
	for _, mask := range append(masks, 0) {
		some := slices.Clone(levels)
		for i := range some {
			if mask&(1<<i) != 0 {
				some[i] = "+"
			}
		}
		add(strings.Join(some, "/"))
		for n := range len(some) {
			add(strings.Join(append(slices.Clone(some[:n]), "#"), "/"))
		}
		add(strings.Join(some, "/") + "/#")
	}
	return filters
}
