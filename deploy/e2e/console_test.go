package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"offsite/deploy/peers"
)

// consoleModules is where the browser's driver lies, beside the console's own packages.
const consoleModules = "../../gateway/console/web"

// needBrowser finds node and Chromium, and has the driver installed.
func needBrowser(t *testing.T) (chromium string) {
	t.Helper()
	for _, tool := range []string{"node", "chromium", "mosquitto_pub"} {
		if _, err := exec.LookPath(tool); err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is absent", tool)
		}
		t.Skipf("%s is absent: install it to test the console in a browser", tool)
	}
	if err := browserDriver(); err != nil {
		t.Fatal(err)
	}
	chromium, _ = exec.LookPath("chromium")
	return chromium
}

// browserDriver installs the pinned driver of browsers where it is absent, once for all tests.
var browserDriver = sync.OnceValue(func() error {
	if _, err := os.Stat(filepath.Join(consoleModules, "node_modules", "playwright-core")); err == nil {
		return nil
	}
	cmd := exec.CommandContext(context.Background(), "npm", "ci", "--silent", "--no-progress")
	cmd.Dir = consoleModules
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return nil
})

// demo is a running `offsite demo`, as its first line of output tells of it.
type demo struct {
	Console, API, Token, Broker, HJ212 string
	Process                            int `json:"-"`
}

// startDemo runs the demo as people start it, on a port of its own.
func startDemo(t *testing.T) demo {
	t.Helper()
	binary, err := programBinary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "demo", "--json", "--http", "127.0.0.1:0") //nolint:noctx // ended by SIGTERM below
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var told peers.Output
	cmd.Stderr = &told
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	drained := make(chan struct{})
	first, err := lines.ReadString('\n')
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, lines) // a full pipe would stop the demo
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-drained
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("demo: %s", told.String())
		}
	})
	var d demo
	if err == nil {
		err = json.Unmarshal([]byte(first), &d)
	}
	if err != nil {
		t.Fatalf("demo's first line %q: %v", first, err)
	}
	d.Process = cmd.Process.Pid
	return d
}

// browse runs one script of the folder console and reads its report.
func browse(t *testing.T, script string, task map[string]any, report any) {
	t.Helper()
	artefacts := os.Getenv("OFFSITE_ARTEFACTS")
	if artefacts == "" {
		artefacts = t.TempDir()
	} else if err := os.MkdirAll(artefacts, 0o755); err != nil { //nolint:gosec // pictures for everybody
		t.Fatal(err)
	}
	modules, err := filepath.Abs(consoleModules)
	if err != nil {
		t.Fatal(err)
	}
	full := maps.Clone(task)
	maps.Copy(full, map[string]any{"name": strings.TrimSuffix(script, ".mjs"), "modules": modules, "artefacts": artefacts})
	text, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", filepath.Join("console", script))
	cmd.Env = append(os.Environ(), "OFFSITE_TASK="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	var ended struct {
		Failure    string
		Complaints []string
	}
	if err := json.Unmarshal(out, &ended); err != nil {
		t.Fatalf("%s: %v in %s", script, err, out)
	}
	if ended.Failure != "" {
		t.Fatalf("%s: %s\nreport %s", script, ended.Failure, out)
	}
	for _, c := range ended.Complaints {
		t.Errorf("the browser complains: %s", c)
	}
	if err := json.Unmarshal(out, report); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", out)
}

// TestInBrowsers tries in Chromium what people see, and the pictures in others too. Each test has a gateway of its
// own and mostly waits, as for a phone's slow line, so that they run beside each
// other; what measures time is no part of them.
func TestInBrowsers(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"Console", testConsole},
		{"FromTheLabel", testConsoleFromTheLabel},
		{"Discover", testDiscoverOnAPhone},
		{"Acts", testConsoleActs},
		{"Wall", testWall},
		{"Ladder", testPlayerLadder},
		{"Recordings", testRecordings},
		{"Measured", testConsoleMeasured},
		{"WebRTC", testWebRTC},
		{"CameraPlays", testCameraPlays},
		{"Events", testEvents},
		{"Reference", testReference},
		{"WallByHand", testWallByHand},
		{"WallInTrouble", testWallInTrouble},
		{"HLSByTicket", testHLSByTicket},
		{"Firefox", testFirefox},
		{"WebKit", testWebKit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.run(t)
		})
	}
}

// testConsole opens the demo's console: what staff watch on a screen, and what a
// field engineer does on a phone.
func testConsole(t *testing.T) {
	chromium := needBrowser(t)
	d := startDemo(t)
	base, _, _ := strings.Cut(d.Console, "/#")
	task := map[string]any{"chromium": chromium, "url": d.Console, "base": base, "api": d.API, "token": d.Token, "broker": d.Broker}

	t.Run("Watch", func(t *testing.T) {
		var got struct {
			Address, FirstValue, LaterValue, Hash, Note, Language, English string
			Playing                                                        []struct {
				Time   float64
				Width  int
				Frames int
			}
			Picture struct{ Width, Shown float64 }
			Instead struct {
				Width int
				Why   string
			}
		}
		browse(t, "watch.mjs", task, &got)
		if !strings.HasSuffix(got.Address, "/#/") {
			t.Errorf("signed in at %s, want the front page without the link's secret", got.Address)
		}
		if len(got.Playing) != 2 || got.Playing[1].Time < got.Playing[0].Time+3 || got.Playing[1].Width != 640 || got.Playing[1].Frames-got.Playing[0].Frames < 20 {
			t.Errorf("video does not play: %+v", got.Playing)
		}
		if got.Picture.Width <= 0 || got.Picture.Shown <= 0 || len(got.Hash) != 64 {
			t.Errorf("picture of the event: %+v, hash %q", got.Picture, got.Hash)
		}
		if got.Instead.Width != 640 || !strings.Contains(got.Instead.Why, "静态画面") {
			t.Errorf("instead of a stream that cannot be played: %+v", got.Instead)
		}
		if got.Note != "已电话通知现场，正在洒水" || got.Language != "en" || got.English != "Overview" {
			t.Errorf("note %q, language %q, front page %q", got.Note, got.Language, got.English)
		}
	})

	t.Run("RegisterOnPhone", func(t *testing.T) {
		phone := maps.Clone(task)
		maps.Copy(phone, map[string]any{"person": "engineer", "password": "First-Day-2026", "nextPassword": "Second-Day-2026"})
		gateway := peers.Offsite{API: d.API, Token: d.Token}
		person := thing{"id": "engineer", "name": "现场工程师", "role": "field_engineer", "password": phone["password"]}
		if err := gateway.Do(t.Context(), http.MethodPost, "/people", person, nil); err != nil {
			t.Fatal(err)
		}
		var got struct {
			IDFault, Typed, Unreachable, PointID, LastValue, Event, RetireAsks, NextID string
			LimitGone                                                                  bool
			Still                                                                      int
			Restored, Faults                                                           []string
		}
		browse(t, "register.mjs", phone, &got)
		if got.IDFault == "" || got.Typed != "码头堆场" {
			t.Errorf("beside the wrong field: %q; kept: %q", got.IDFault, got.Typed)
		}
		if want := []string{"码头堆场", "dock-yard", "other"}; !strings.Contains(got.Unreachable, "无法连接网关") || !slices.Equal(got.Restored, want) {
			t.Errorf("without network: %q; after the session ended: %q, want %q", got.Unreachable, got.Restored, want)
		}
		if got.Still != 320 {
			t.Errorf("the new camera's still is %d pixels wide, want 320 as the phone shows it", got.Still)
		}
		if got.PointID != "pm10" || got.LastValue != "87" {
			t.Errorf("point %q has last value %q, want pm10 and 87", got.PointID, got.LastValue)
		}
		if !strings.Contains(got.Event, "143") || !strings.Contains(got.Event, "高报 H") || !strings.Contains(got.Event, "<img src=x") {
			t.Errorf("the alarm reads %q", got.Event)
		}
		if !strings.Contains(got.RetireAsks, "停止判定") || !got.LimitGone {
			t.Errorf("retiring asks %q; gone: %v", got.RetireAsks, got.LimitGone)
		}
		if got.NextID != "yard-dust-pm10-h-2" {
			t.Errorf("after the first was retired the same limit gets id %q", got.NextID)
		}
		for _, f := range got.Faults {
			t.Error(f)
		}
	})

	t.Run("InstrumentOnPhone", func(t *testing.T) {
		phone := maps.Clone(task)
		var plc struct{ Endpoint string }
		gateway := peers.Offsite{API: d.API, Token: d.Token}
		if err := gateway.Do(t.Context(), http.MethodGet, "/devices/tank-plc-1", nil, &plc); err != nil {
			t.Fatal(err)
		}
		maps.Copy(phone, map[string]any{"instrument": plc.Endpoint, "person": "installer", "password": "First-Day-2026", "nextPassword": "Second-Day-2026"})
		person := thing{"id": "installer", "name": "安装工程师", "role": "field_engineer", "password": phone["password"]}
		if err := gateway.Do(t.Context(), http.MethodPost, "/people", person, nil); err != nil {
			t.Fatal(err)
		}
		var got struct {
			Taps                                          int
			Seconds, LabelSeconds                         float64
			Probed, LastValue, Maintained, Broken, Stored string
			Found, Steps, Swapped, TableFaults, Faults    []string
		}
		browse(t, "instrument.mjs", phone, &got)
		if got.Taps > 15 || got.Seconds > 180 {
			t.Errorf("%d taps and %.0f s to a live value, want at most 15 and 180", got.Taps, got.Seconds)
		}
		if !slices.Contains(got.Found, "tank-radar-level") || !slices.Contains(got.Steps, "values good") || got.Probed == "" || got.LastValue == "" {
			t.Errorf("found %q, steps %q, probed %q, live %q", got.Found, got.Steps, got.Probed, got.LastValue)
		}
		if got.LabelSeconds > 180 || !strings.Contains(got.Maintained, "校准雷达") {
			t.Errorf("%.0f s from the label to a value; maintenance reads %q", got.LabelSeconds, got.Maintained)
		}
		points := []string{"gas-area-1.lel", "tank-101.level", "tank-101.pressure", "tank-101.temperature"}
		if !strings.Contains(got.Broken, "无法连接网关") || !slices.Equal(got.Swapped, points) {
			t.Errorf("a broken swap says %q; the new device has %q, want %q", got.Broken, got.Swapped, points)
		}
		if len(got.TableFaults) != 2 || !strings.Contains(got.TableFaults[0], "第 3 行第 1 列") || !strings.Contains(got.Stored, "新建 2") {
			t.Errorf("faults of the table %q; mended it says %q", got.TableFaults, got.Stored)
		}
		for _, f := range got.Faults {
			t.Error(f)
		}
	})
}
