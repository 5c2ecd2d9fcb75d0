package request

import (
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
)

// TestNobodyTakesAllPlaces lets people come and go.
func TestNobodyTakesAllPlaces(t *testing.T) {
	p := &Places{All: 5, Each: 2, Taken: &devices.Problem{Code: "busy"}, Yours: &devices.Problem{Code: "busy_yourself"}}
	var got []string
	come := func(who string) {
		if err := p.Enter(who); err != nil {
			got = append(got, who+" "+devices.AllProblems(err)[0].Code)
			return
		}
		got = append(got, who+" "+strconv.Itoa(p.taken))
	}
	come("li")
	come("li")
	come("li")
	come("token:wang")
	p.Leave("li")
	come("li")
	come("token:wang")
	come("zhao")
	come("sun")
	p.Leave("token:wang")
	come("sun")
	want := []string{"li 1", "li 2", "li busy_yourself", "token:wang 3", "li 3", "token:wang 4", "zhao 5", "sun busy", "sun 5"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, who := range []string{"li", "li", "zhao", "token:wang", "sun"} {
		p.Leave(who)
	}
	if p.taken != 0 || len(p.of) != 0 {
		t.Errorf("%d taken, of %v", p.taken, p.of)
	}
}
