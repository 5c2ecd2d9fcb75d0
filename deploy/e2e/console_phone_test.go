package e2e

import (
	"maps"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"offsite/deploy/peers"
)

// visitor makes a person with a role and gives the task that signs in as that person.
func visitor(t *testing.T, d demo, chromium, id, role string) map[string]any {
	t.Helper()
	base, _, _ := strings.Cut(d.Console, "/#")
	task := map[string]any{"chromium": chromium, "base": base, "api": d.API, "token": d.Token, "person": id, "password": "First-Day-2026", "nextPassword": "Second-Day-2026"}
	person := thing{"id": id, "name": id, "role": role, "password": task["password"]}
	gateway := peers.Offsite{API: d.API, Token: d.Token}
	if err := gateway.Do(t.Context(), http.MethodPost, "/people", person, nil); err != nil {
		t.Fatal(err)
	}
	return task
}

// testConsoleFromTheLabel goes from a printed label to a live value, with a
// network that loses answers and a phone that loses pages.
func testConsoleFromTheLabel(t *testing.T) {
	chromium := needBrowser(t)
	if _, err := exec.LookPath("zbarimg"); err != nil {
		t.Skip("zbarimg is absent: install zbar-tools to read the label")
	}
	d := startDemo(t)
	task := visitor(t, d, chromium, "installer", "field_engineer")
	var plc struct{ Endpoint string }
	gateway := peers.Offsite{API: d.API, Token: d.Token}
	if err := gateway.Do(t.Context(), http.MethodGet, "/devices/tank-plc-1", nil, &plc); err != nil {
		t.Fatal(err)
	}
	task["instrument"] = plc.Endpoint
	var got struct {
		Label, Already, Missing, Password, Kept, Offline string
		Taps, Made, Sent, Stored, Unsaved, DraftsLeft    int
		Seconds, LabelSeconds                            float64
		Bindings, Restored                               []string
	}
	browse(t, "label.mjs", task, &got)
	if want := task["base"].(string) + "/#/devices/tank-plc-1"; got.Label != want {
		t.Errorf("the label says %q, want %q", got.Label, want)
	}
	if got.Taps > 15 || got.Seconds > 180 || got.LabelSeconds > 180 {
		t.Errorf("%d taps and %.0f s from the label to its successor's value (%.0f s to its own), want at most 15 and 180", got.Taps, got.Seconds, got.LabelSeconds)
	}
	points := []string{"gas-area-1.lel", "tank-101.level", "tank-101.pressure", "tank-101.temperature"}
	if !slices.Equal(got.Bindings, points) {
		t.Errorf("after a swap whose answer was lost the new device has %q, want each once: %q", got.Bindings, points)
	}
	if want := []string{plc.Endpoint, "103 号储罐"}; !slices.Equal(got.Restored, want) {
		t.Errorf("after a reload the form has %q, want %q", got.Restored, want)
	}
	if got.Made != 1 || got.Sent != 1 || !strings.Contains(got.Already, "没有重复登记") {
		t.Errorf("a save whose answer was lost was sent %d times and made %d devices; it says %q", got.Sent, got.Made, got.Already)
	}
	if got.Stored != 0 || got.Password != "" || got.Kept != "Gate dust" || !strings.Contains(got.Missing, "密码") {
		t.Errorf("a typed password lies in %d places of the browser's storage; after a reload the form has password %q, name %q and says %q", got.Stored, got.Password, got.Kept, got.Missing)
	}
	if !strings.Contains(got.Offline, "无法连接网关") || got.Unsaved != 1 {
		t.Errorf("without network it says %q; afterwards there are %d such devices, want 1", got.Offline, got.Unsaved)
	}
	if got.DraftsLeft != 0 {
		t.Errorf("%d drafts are left after all were saved or discarded", got.DraftsLeft)
	}
}

// testConsoleMeasured walks every page and measures targets, contrast, names and focus.
func testConsoleMeasured(t *testing.T) {
	chromium := needBrowser(t)
	d := startDemo(t)
	pages := []string{
		"", "events", "cameras", "register", "register/devices", "register/devices/+", "register/limits/+", "register/cameras/+", "instruments", "instruments/tank-radar-level", "tables", "scan",
		"devices", "letters", "discover", "devices/tank-plc-1", "devices/tank-plc-1/swap", "points/tank-101.level", "retired", "platform", "people", "audit", "trust", "password",
	}
	for _, width := range []int{360, 1280} {
		t.Run(map[int]string{360: "Phone", 1280: "Screen"}[width], func(t *testing.T) {
			task := visitor(t, d, chromium, map[int]string{360: "walker", 1280: "looker"}[width], "administrator")
			maps.Copy(task, map[string]any{"width": width, "pages": pages})
			var got struct {
				Pages                  int
				Faults, Stops, Control []string
			}
			browse(t, "walk.mjs", task, &got)
			if got.Pages < 2*len(pages) || len(got.Stops) == 0 {
				t.Errorf("%d pages were measured, %d stops of the keyboard", got.Pages, len(got.Stops))
			}
			if spoilt := strings.Join(got.Control, "\n"); !strings.Contains(spoilt, " x 2") || !strings.Contains(spoilt, "has contrast") {
				t.Errorf("targets and colours that were spoilt on purpose are not found: %q", got.Control)
			}
			for _, f := range got.Faults {
				t.Error(f)
			}
		})
	}
}
