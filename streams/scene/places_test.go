package scene

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestACameraThatTurns has a camera look at several places, each step for five looks of
// half a minute, and tells what holds after each step.
func TestACameraThatTurns(t *testing.T) {
	views := map[string]View{
		"yard":  picture(t, yard),
		"gate":  picture(t, yard+",hflip"),
		"tanks": picture(t, yard+",vflip"),
		"cloth": picture(t, "color=0x604030:size=320x180,noise=alls=8:allf=t"),
		"spray": picture(t, yard+",gblur=sigma=30"),
		"black": picture(t, "color=black:size=320x180"),
	}
	const astray = "astray"
	tests := []struct {
		name  string
		steps string // where it is said to stand, and what it shows; frozen: again and again
		want  string
	}{
		{"home alone", "home:yard home:gate", " moved"},
		{"it goes round", "home:yard 1:gate 2:tanks home:yard 1:gate 2:tanks", "     "},
		{"each place has its reference", "1:gate 2:tanks 1:tanks 2:tanks 2:gate", "  moved  moved"},
		{"somebody has turned its mount", "1:gate 2:tanks 1:yard 2:yard 1:gate", "  moved moved "},
		{"turned by hand", "home:yard astray:gate home:yard", "  "},
		{"nothing is learnt there", "home:yard astray:gate home:gate", "  moved"},
		{"it was moved before it was turned by hand", "home:yard home:gate astray:tanks home:yard", " moved moved "},
		{"a new place is no way out", "home:yard home:gate 1:tanks 1:tanks home:yard", " moved moved moved "},
		{"black wherever it looks", "home:yard astray:black home:yard", " black "},
		{"a cloth wherever it looks", "home:yard astray:cloth astray:gate home:yard", " covered covered "},
		{"covered by what a reference tells", "home:yard home:spray astray:spray home:yard", " covered covered "},
		{"black while it is turned", "home:yard turns:black turns:gate home:yard", " black  "},
		{"nothing else is found while it is turned", "home:yard turns:gate turns:cloth turns:yard:frozen home:yard", "    "},
		{"what was found stays while it is turned", "home:yard home:gate turns:yard home:yard", " moved moved "},
		{"frozen wherever it looks", "home:yard astray:yard:frozen home:gate:frozen home:yard", " frozen frozen "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := NewWatch(Config{})
			at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			var got []string
			for _, step := range strings.Fields(tt.steps) {
				said := strings.Split(step, ":")
				switch said[0] {
				case astray:
					w.Stray()
				case "turns":
					w.Turn()
				case "home":
					w.Stand(Home)
				default:
					w.Stand(said[0])
				}
				var f Finding
				for range 5 {
					at = at.Add(30 * time.Second)
					f = w.Look(at, views[said[1]], len(said) > 2)
				}
				got = append(got, string(f))
			}
			if told := strings.Join(got, " "); told != tt.want {
				t.Errorf("found %q, want %q", told, tt.want)
			}
		})
	}
}

// TestAPatrolIsLearnt has a camera go from place to place between any two looks.
func TestAPatrolIsLearnt(t *testing.T) {
	views := []View{picture(t, yard), picture(t, yard+",hflip"), picture(t, yard+",vflip")}
	w := NewWatch(Config{})
	look := func(i, shown int) Finding {
		w.Stand(fmt.Sprint(i % 3))
		return w.Look(time.Unix(int64(60*i), 0), views[shown%3], false)
	}
	for i := range 9 {
		if f := look(i, i); f != "" {
			t.Fatalf("%s while it learns", f)
		}
	}
	for place := range 3 {
		for shown := range 3 {
			if fits := w.Fits(fmt.Sprint(place), views[shown]); fits != (place == shown) {
				t.Errorf("place %d fits picture %d: %v", place, shown, fits)
			}
		}
	}
	var got Finding
	for i := 9; i < 15; i++ {
		got = look(i, i+1) // its mount was turned
	}
	if got != Moved {
		t.Errorf("%q", got)
	}
}
