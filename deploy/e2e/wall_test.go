package e2e

import (
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// testWall has somebody on duty at the wall of pictures.
func testWall(t *testing.T) {
	chromium := needBrowser(t)
	d := startDemo(t)
	var got struct {
		Address, Label, Frame, Badge, Muted, Chosen, Elsewhere, Event string
		Tour                                                          struct {
			Pages []string
			Grey  int
		}
		WhileMuted int
		Enlarged   struct {
			Opened []string
			Videos int
		}
		Wide int
	}
	browse(t, "duty.mjs", map[string]any{"chromium": chromium, "url": d.Console}, &got)
	if got.Address != "/wall?name=值班" || got.Elsewhere != "值班" || got.Wide != 360 {
		t.Errorf("kept as %q, at the other desk %q, %d pixels wide", got.Address, got.Elsewhere, got.Wide)
	}
	if len(got.Tour.Pages) < 3 || got.Tour.Grey > 0 {
		t.Errorf("the tour showed %q, %d times without a picture", got.Tour.Pages, got.Tour.Grey)
	}
	if !strings.Contains(got.Label, "报警中，未确认") || !strings.Contains(got.Badge, "高报") || !strings.Contains(got.Frame, "rgb(255, 47, 58)") {
		t.Errorf("the alarm reads %q, its badge %q, its frame is %q", got.Label, got.Badge, got.Frame)
	}
	if !strings.Contains(got.Muted, "静音中，9:5") && !strings.Contains(got.Muted, "静音中，10:00") || got.WhileMuted != 0 {
		t.Errorf("the mute reads %q, and %d tones sounded in it", got.Muted, got.WhileMuted)
	}
	main := slices.ContainsFunc(got.Enlarged.Opened, func(s string) bool { return strings.Contains(s, "profile=main") })
	if !main || got.Enlarged.Videos != 1 || !strings.HasPrefix(got.Chosen, "第 2 格") {
		t.Errorf("enlarged: opened %q, %d pictures stream; afterwards the keyboard is at %q", got.Enlarged.Opened, got.Enlarged.Videos, got.Chosen)
	}
	if !strings.HasPrefix(got.Event, "/events/") {
		t.Errorf("the alarm leads to %q", got.Event)
	}
}

// testWallByHand rearranges walls by dragging and turns them by a finger.
func testWallByHand(t *testing.T) {
	chromium := needBrowser(t)
	d := startDemo(t)
	base, _, _ := strings.Cut(d.Console, "/#")
	var got struct {
		Before, Changed, Dragged, Kept, Front, Afterwards, Swiped, Enlarged []string
		Covered                                                             int
	}
	browse(t, "byhand.mjs", map[string]any{"chromium": chromium, "url": d.Console, "base": base}, &got)
	for _, x := range []struct {
		what      string
		got, want []string
	}{
		{"before", got.Before, []string{"cam-1", "cam-2", "", ""}},
		{"changed", got.Changed, []string{"cam-2", "cam-1", "", ""}},
		{"dragged", got.Dragged, []string{"", "", "cam-1", "cam-2"}},
		{"kept", got.Kept, []string{"", "", "cam-1", "cam-2"}},
		{"an alarm", got.Front, []string{"cam-2", "第 1 / 2 页"}},
		{"after it", got.Afterwards, []string{"cam-1", "第 1 / 2 页"}},
		{"swiped", got.Swiped, []string{"第 1 / 2 页", "第 2 / 2 页", "第 1 / 2 页", "第 1 / 2 页"}},
		{"enlarged", got.Enlarged, []string{"cam-1", "cam-2", "cam-1"}},
	} {
		if !slices.Equal(x.got, x.want) {
			t.Errorf("%s: %q, want %q", x.what, x.got, x.want)
		}
	}
	if got.Covered > 0 {
		t.Errorf("%d buttons of the enlarged picture lie over it or are too small", got.Covered)
	}
}

// TestWallKeepsPlaying watches 16 cameras on the console's wall for 20 seconds,
// as `go run ./deploy/bench wall` does for ten minutes: the measurement itself
// fails where a picture stands still or the page grows.
func TestWallKeepsPlaying(t *testing.T) {
	needBrowser(t)
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is absent: install it to make the wall's clip")
	}
	out, err := exec.CommandContext(t.Context(), "go", "run", "offsite/deploy/bench", "wall", "-minutes", "0.33").CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`bench=wall n=16 .* frames=(\d+) dropped=(\d+) `).FindSubmatch(out)
	if found == nil {
		t.Fatal("no figures were printed")
	}
	frames, _ := strconv.Atoi(string(found[1])) // the expression takes digits alone
	if least := 16 * 20 * 10 / 2; frames < least {
		t.Errorf("%d pictures, want at least %d", frames, least)
	}
}

// testWallInTrouble has a page's file refused, an address changed early and the gateway fall silent, each of which
// the page tells.
func testWallInTrouble(t *testing.T) {
	chromium := needBrowser(t)
	d := startDemo(t)
	var got struct {
		Failed, Opened, Early, Ending, Tried, Stopped, Lost string
		Beeps, Live                                         int
		Covered, FullScreen                                 bool
		Phone                                               []string
	}
	browse(t, "trouble.mjs", map[string]any{"chromium": chromium, "url": d.Console, "process": d.Process}, &got)
	if !strings.Contains(got.Failed, "页面没有打开") || !strings.HasPrefix(got.Opened, "/wall") || got.Early != "/cameras/cam-1" {
		t.Errorf("a file that was refused: %q, then at %q; an address changed early leads to %q", got.Failed, got.Opened, got.Early)
	}
	if !strings.Contains(got.Ending, "登录将在 2") {
		t.Errorf("25 minutes before the session ends: %q", got.Ending)
	}
	if !strings.Contains(got.Tried, "已响一次") || got.Beeps < 2 {
		t.Errorf("the sound was tried: %q, %d tones", got.Tried, got.Beeps)
	}
	if !strings.Contains(got.Stopped, "此后没有新画面") || got.Live > 0 {
		t.Errorf("a picture that stands still: %q, %d called live", got.Stopped, got.Live)
	}
	if !strings.Contains(got.Lost, "与网关的连接中断") || got.Covered {
		t.Errorf("in full screen: %q, hidden %v", got.Lost, got.Covered)
	}
	if told := strings.Join(got.Phone, "; "); !got.FullScreen || !strings.Contains(told, "与网关的连接中断") || !strings.Contains(told, "此后没有新画面") || strings.Contains(told, "covered") {
		t.Errorf("over an enlarged picture on a phone, in full screen %v: %q", got.FullScreen, told)
	}
}
