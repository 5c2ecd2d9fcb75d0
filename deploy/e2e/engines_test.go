package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"offsite/deploy/peers"
)

// Browsers that are not Chromium: Firefox by WebDriver BiDi, and WebKitGTK, whose
// engine is Safari's, by classic WebDriver. Neither needs anybody else's driver.

func testFirefox(t *testing.T) { playInEngine(t, startFirefox(t)) }

func testWebKit(t *testing.T) { playInEngine(t, startWebKit(t)) }

// engine drives one page of a browser. Eval gives the value of an expression as JSON.
type engine interface {
	Open(ctx context.Context, url string) error
	Eval(ctx context.Context, expression string) (json.RawMessage, error)
}

// needProgram skips the test where a program is absent.
func needProgram(t *testing.T, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is absent: apt-get install %s, or run deploy/test browsers", name, pkg)
	}
	return path
}

// runUntilTheEnd starts a program that is killed with all its children when the test ends, and
// gives its output line by line.
func runUntilTheEnd(t *testing.T, cmd *exec.Cmd) *bufio.Scanner {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	})
	return bufio.NewScanner(out)
}

// drain reads on so that the program never waits for its reader.
func drain(lines *bufio.Scanner) {
	for lines.Scan() {
	}
}

// firefox is a headless Firefox, spoken to by WebDriver BiDi.
type firefox struct {
	conn    *websocket.Conn
	context string
	n       int
}

func startFirefox(t *testing.T) engine {
	t.Helper()
	path := needProgram(t, "firefox-esr", "firefox-esr")
	profile := t.TempDir()
	prefs := `user_pref("media.autoplay.default", 0);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("intl.accept_languages", "zh-CN");
`
	if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(prefs), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0") //nolint:noctx // killed by the cleanup
	cmd.Env = append(os.Environ(), "HOME="+profile, "MOZ_DISABLE_CONTENT_SANDBOX=1")
	lines := runUntilTheEnd(t, cmd)
	listens := regexp.MustCompile(`WebDriver BiDi listening on (ws://\S+)`)
	for lines.Scan() {
		found := listens.FindStringSubmatch(lines.Text())
		if found == nil {
			continue
		}
		go drain(lines)
		f := &firefox{}
		var err error
		if f.conn, _, err = websocket.Dial(t.Context(), found[1]+"/session", nil); err != nil { //nolint:bodyclose // of a WebSocket
			t.Fatal(err)
		}
		f.conn.SetReadLimit(64 << 20)
		t.Cleanup(func() { _ = f.conn.CloseNow() })
		f.begin(t)
		return f
	}
	t.Fatal("Firefox does not say where it listens")
	return nil
}

// begin opens the session and finds the page.
func (f *firefox) begin(t *testing.T) {
	t.Helper()
	var tree struct {
		Contexts []struct{ Context string }
	}
	err := f.call(t.Context(), "session.new", map[string]any{"capabilities": map[string]any{}}, nil)
	if err == nil {
		err = f.call(t.Context(), "browsingContext.getTree", map[string]any{}, &tree)
	}
	if err != nil || len(tree.Contexts) == 0 {
		t.Fatalf("Firefox has no page: %+v, %v", tree, err)
	}
	f.context = tree.Contexts[0].Context
}

// call sends a command and reads on until its answer.
func (f *firefox) call(ctx context.Context, method string, params map[string]any, result any) error {
	f.n++
	text, err := json.Marshal(map[string]any{"id": f.n, "method": method, "params": params})
	if err != nil {
		return err
	}
	if err := f.conn.Write(ctx, websocket.MessageText, text); err != nil {
		return err
	}
	for {
		_, text, err := f.conn.Read(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		var m struct {
			ID             int
			Error, Message string
			Result         json.RawMessage
		}
		if err := json.Unmarshal(text, &m); err != nil {
			return err
		}
		switch {
		case m.ID != f.n:
			continue
		case m.Error != "":
			return fmt.Errorf("%s: %s: %s", method, m.Error, m.Message)
		case result == nil:
			return nil
		}
		return json.Unmarshal(m.Result, result)
	}
}

func (f *firefox) Open(ctx context.Context, url string) error {
	return f.call(ctx, "browsingContext.navigate", map[string]any{"context": f.context, "url": url, "wait": "complete"}, nil)
}

func (f *firefox) Eval(ctx context.Context, expression string) (json.RawMessage, error) {
	var got struct {
		Type             string
		Result           struct{ Value string }
		ExceptionDetails struct{ Text string }
	}
	err := f.call(ctx, "script.evaluate", map[string]any{
		"expression": "(async () => JSON.stringify((" + expression + ") ?? null))()", "target": map[string]any{"context": f.context}, "awaitPromise": true,
	}, &got)
	if err == nil && got.Type != "success" {
		err = errors.New(got.ExceptionDetails.Text)
	}
	return json.RawMessage(got.Result.Value), err
}

// webkit is WebKitGTK's own small browser on a screen that nobody sees, spoken to by WebDriver.
type webkit struct{ session string }

const miniBrowser = "/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser"

func startWebKit(t *testing.T) engine {
	t.Helper()
	path := needProgram(t, "WebKitWebDriver", "webkit2gtk-driver")
	if _, err := os.Stat(miniBrowser); err != nil {
		t.Skip("WebKitGTK's MiniBrowser is absent: apt-get install libwebkit2gtk-4.1-0, or run deploy/test browsers")
	}
	screen := exec.Command(needProgram(t, "Xvfb", "xvfb"), "-displayfd", "1", "-screen", "0", "1280x900x24", "-nolisten", "tcp") //nolint:noctx // killed by the cleanup
	lines := runUntilTheEnd(t, screen)
	display := ""
	for number := regexp.MustCompile(`^\d+$`); display == "" && lines.Scan(); {
		if number.MatchString(lines.Text()) {
			display = ":" + lines.Text()
		}
	}
	go drain(lines)
	address, err := peers.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(address, ":")
	driver := exec.Command(path, "--host="+host, "--port="+port) //nolint:noctx // killed by the cleanup
	home := t.TempDir()
	driver.Env = append(os.Environ(), "DISPLAY="+display, "HOME="+home, "XDG_RUNTIME_DIR="+home, "LIBGL_ALWAYS_SOFTWARE=1", "WEBKIT_DISABLE_COMPOSITING_MODE=1")
	go drain(runUntilTheEnd(t, driver))
	w := &webkit{session: "http://" + address + "/session"}
	capabilities := map[string]any{"browserName": "MiniBrowser", "webkitgtk:browserOptions": map[string]any{"binary": miniBrowser, "args": []string{"--automation", "--autoplay-policy=allow"}}}
	var made struct{ SessionID string }
	err = peers.Await(t.Context(), func() error {
		return w.call(t.Context(), http.MethodPost, "", map[string]any{"capabilities": map[string]any{"alwaysMatch": capabilities}}, &made)
	})
	if err != nil {
		t.Fatalf("WebKitGTK does not start: %v", err)
	}
	w.session += "/" + made.SessionID
	t.Cleanup(func() { _ = w.call(context.WithoutCancel(t.Context()), http.MethodDelete, "", nil, nil) })
	return w
}

func (w *webkit) call(ctx context.Context, method, path string, body, value any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, w.session+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct{ Value json.RawMessage }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("WebDriver: %s", answer.Value)
	}
	if value == nil {
		return nil
	}
	return json.Unmarshal(answer.Value, value)
}

func (w *webkit) Open(ctx context.Context, url string) error {
	return w.call(ctx, http.MethodPost, "/url", map[string]any{"url": url}, nil)
}

func (w *webkit) Eval(ctx context.Context, expression string) (json.RawMessage, error) {
	var text string
	err := w.call(ctx, http.MethodPost, "/execute/sync", map[string]any{"script": "return JSON.stringify((" + expression + ") ?? null)", "args": []any{}}, &text)
	return json.RawMessage(text), err
}

// playback is what a camera's page tells of its picture.
type playback struct {
	Mode, Way, Caption, Left string
	Time                     float64
	Width, Still, Sum        int // Sum is of the picture that shows
	Failure                  string
}

const look = `(() => {
  const figure = document.querySelector('figure.live'), v = document.querySelector('video'), still = document.querySelector('[data-test=still]')
  let sum = 0
  if (v?.videoWidth) {
    const c = new OffscreenCanvas(v.videoWidth, v.videoHeight).getContext('2d')
    c.drawImage(v, 0, 0)
    const p = c.getImageData(0, 0, v.videoWidth, v.videoHeight).data
    for (let i = 0; i < p.length; i += 4) sum = (sum * 31 + p[i]) >>> 0
  }
  return {
    sum, mode: figure?.dataset.mode, way: figure?.dataset.way, caption: figure?.querySelector('figcaption')?.textContent, left: figure?.querySelector('.left')?.textContent,
    time: v?.currentTime, width: v?.videoWidth, still: still?.naturalWidth, failure: v?.error?.message,
  }
})()`

// What takes a way from a page, as networks and other builds of browsers do.
const (
	withoutSocket = `window.WebSocket = class extends EventTarget { constructor() { super(); setTimeout(() => this.onclose?.(new CloseEvent('close'))) } send() {} close() {} }`
	withoutMSE    = `delete window.MediaSource, delete window.ManagedMediaSource, delete window.WebKitMediaSource`
)

// playInEngine plays a camera of the demo by each way that a browser has: what
// plays is what the page says, and it goes on.
func playInEngine(t *testing.T, b engine) {
	t.Helper()
	d := startDemo(t)
	base, _, _ := strings.Cut(d.Console, "/#")
	p := &page{t: t, engine: b}
	p.open(d.Console)
	p.until("signed in", `!!document.querySelector('[data-test=account]')`)
	for _, way := range []struct {
		name, prepare string
		quick         bool
		want          []string // any of these
	}{
		{"by itself", "0", false, []string{"socket"}},
		{"least delay", "0", true, []string{"webrtc", "socket"}}, // Debian's builds have no WebRTC, or none with H.264
		{"no socket", withoutSocket, false, []string{"hls"}},
		{"no socket, no media source", "(" + withoutSocket + ", " + withoutMSE + ")", false, []string{"hls", "stills"}}, // hls by itself is Safari's alone
	} {
		t.Run(way.name, func(t *testing.T) {
			p.t = t
			p.open(base + "/#/platform")
			p.eval(fmt.Sprintf("localStorage.setItem('offsite.player.low-latency', '%s')", map[bool]string{true: "yes", false: "no"}[way.quick]))
			p.open("about:blank")
			p.open(base + "/#/platform")
			p.until("the page", `!!document.querySelector('[data-test=account]')`)
			p.eval("(" + way.prepare + ", 0)")
			p.eval("(location.hash = '#/cameras/cam-1', 0)")
			p.plays(way.want)
		})
	}
}

// page is an engine whose failures end the test.
type page struct {
	t *testing.T
	engine
}

func (p *page) open(url string) {
	p.t.Helper()
	if err := p.Open(p.t.Context(), url); err != nil {
		p.t.Fatalf("open %s: %v", url, err)
	}
}

func (p *page) eval(expression string) json.RawMessage {
	p.t.Helper()
	v, err := p.Eval(p.t.Context(), expression)
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

func (p *page) until(what, expression string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 45*time.Second)
	defer cancel()
	err := peers.Await(ctx, func() error {
		if v, err := p.Eval(ctx, expression); err != nil || string(v) != "true" {
			return fmt.Errorf("%s, %w", v, err)
		}
		return nil
	})
	if err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

// look reads what the camera's page tells.
func (p *page) look() (s playback) {
	p.t.Helper()
	if err := json.Unmarshal(p.eval(look), &s); err != nil {
		p.t.Fatal(err)
	}
	return s
}

// plays waits for a picture by one of the ways and holds it to going on.
func (p *page) plays(ways []string) {
	p.t.Helper()
	shows := fmt.Sprintf(`((s) => %s.includes(s.way) && (s.way === 'stills' ? s.still > 0 : s.mode === 'live' && s.width > 0 && s.time > 0))(%s)`, `["`+strings.Join(ways, `","`)+`"]`, look)
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	err := peers.Await(ctx, func() error {
		if v, err := p.Eval(ctx, shows); err != nil || string(v) != "true" {
			return fmt.Errorf("%s, %w", v, err)
		}
		return nil
	})
	first := p.look()
	if err != nil {
		p.t.Fatalf("no picture by %q: %+v: %v", ways, first, err)
	}
	if first.Way != "stills" {
		p.until("the picture goes on", fmt.Sprintf("document.querySelector('video').currentTime > %g", first.Time+3))
	}
	later := p.look()
	p.t.Logf("%+v", later)
	if later.Way != "stills" && (later.Way != first.Way || later.Width != 640 || later.Sum == first.Sum || later.Sum == 0) {
		p.t.Errorf("it does not go on: %+v, then %+v", first, later)
	}
}
