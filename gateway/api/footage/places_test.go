package footage

import (
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
)

// TestNobodyTakesAllPlaces lets people come and go.
func TestNobodyTakesAllPlaces(t *testing.T) {
	p := newPlaces(5, 2)
	leaves := map[string][]func(){}
	var got []string
	come := func(who string) {
		leave, err := p.enter(who)
		if err != nil {
			got = append(got, who+" "+devices.AllProblems(err)[0].Code)
			return
		}
		leaves[who] = append(leaves[who], leave)
		got = append(got, who+" "+strconv.Itoa(p.taken))
	}
	goes := func(who string) {
		leaves[who][0]()
		leaves[who] = leaves[who][1:]
	}
	come("li")
	come("li")
	come("li")
	come("token:wang")
	goes("li")
	come("li")
	come("token:wang")
	come("zhao")
	come("sun")
	goes("token:wang")
	come("sun")
	want := []string{"li 1", "li 2", "li busy_yourself", "token:wang 3", "li 3", "token:wang 4", "zhao 5", "sun busy", "sun 5"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, list := range leaves {
		for _, leave := range list {
			leave()
		}
	}
	if p.taken != 0 || len(p.by) != 0 {
		t.Errorf("%d taken, by %v", p.taken, p.by)
	}
}
