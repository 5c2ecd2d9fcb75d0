package api

import (
	"testing"

	"offsite/devices"
)

func TestNobodyTakesAllPlacesOfClips(t *testing.T) {
	c := newClips()
	var mine []func()
	for {
		leave, err := c.play("li")
		if err != nil {
			if p := devices.AllProblems(err)[0]; p.Code != "busy_yourself" {
				t.Errorf("refused with %s", p.Code)
			}
			break
		}
		mine = append(mine, leave)
	}
	if len(mine) != clipsEach {
		t.Fatalf("one person has %d places", len(mine))
	}
	leave, err := c.play("token:wang")
	if err != nil {
		t.Fatalf("another one is refused: %v", err)
	}
	leave()
	mine[0]()
	if leave, err = c.play("li"); err != nil {
		t.Fatalf("a place that was given back is not given again: %v", err)
	}
	leave()
	for range clipsAtAll {
		if _, err := c.play(string(rune('a' + len(c.under)))); err != nil {
			if p := devices.AllProblems(err)[0]; p.Code != "busy" || len(c.under) != clipsAtAll {
				t.Errorf("refused with %s at %d", p.Code, len(c.under))
			}
			break
		}
	}
	for _, leave := range mine[1:] {
		leave()
	}
	if _, here := c.holds["li"]; here {
		t.Error("who has none is remembered")
	}
}
