// Package influxtest runs a real InfluxDB 1.8 for tests. The program influxd
// is looked for in OFFSITE_INFLUXD, on the PATH, and in offsite/bin of the
// user's cache folder, where deploy/test builds it.
package influxtest

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is an influxd on a port of 127.0.0.1 that stays the same over
// restarts, on data that stay too.
type Server struct {
	URL string
	Env []string // of influxd, added at the next Restart

	t       testing.TB
	program string
	dir     string
	address string
	run     *exec.Cmd
	drained chan struct{}
}

// Start starts a server and creates database db. Where influxd is missing it
// skips the test, or fails it where CI is set. env adds to influxd's own.
func Start(t testing.TB, db string, env ...string) *Server {
	t.Helper()
	program := find()
	if program == "" {
		const missing = "influxd 1.8 is not there: go install github.com/influxdata/influxdb/cmd/influxd@v1.8.10, or set OFFSITE_INFLUXD"
		if os.Getenv("CI") != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	s := &Server{t: t, program: program, dir: t.TempDir(), Env: env, address: "127.0.0.1:0"}
	s.Restart()
	t.Cleanup(func() { s.Stop() })
	if _, err := s.Query("", "CREATE DATABASE "+db); err != nil {
		t.Fatal(err)
	}
	return s
}

func find() string {
	if p := os.Getenv("OFFSITE_INFLUXD"); p != "" {
		return p
	}
	if p, err := exec.LookPath("influxd"); err == nil && version18(p) {
		return p
	}
	cache := cmp.Or(os.Getenv("XDG_CACHE_HOME"), filepath.Join(os.Getenv("HOME"), ".cache"))
	if p := filepath.Join(cache, "offsite", "bin", "influxd"); version18(p) {
		return p
	}
	return ""
}

// version18 passes over Debian's influxd 1.6. A build by go install knows no
// version of its own and says "unknown".
func version18(program string) bool {
	out, err := exec.CommandContext(context.Background(), program, "version").Output()
	return err == nil && !strings.Contains(string(out), "v1.6") && !strings.Contains(string(out), " 1.6")
}

var listening = regexp.MustCompile(`Listening on HTTP.*addr=(\S+)`)

// Restart starts the server again after Stop or Kill, and returns when it
// answers.
func (s *Server) Restart() {
	s.t.Helper()
	cmd := exec.CommandContext(context.Background(), s.program, "-config", os.DevNull)
	cmd.Env = append(os.Environ(),
		"INFLUXDB_REPORTING_DISABLED=true",
		"INFLUXDB_META_DIR="+filepath.Join(s.dir, "meta"),
		"INFLUXDB_DATA_DIR="+filepath.Join(s.dir, "data"),
		"INFLUXDB_DATA_WAL_DIR="+filepath.Join(s.dir, "wal"),
		"INFLUXDB_DATA_INDEX_VERSION=tsi1",
		"INFLUXDB_MONITOR_STORE_ENABLED=false",
		"INFLUXDB_BIND_ADDRESS=127.0.0.1:0",
		"INFLUXDB_HTTP_BIND_ADDRESS="+s.address,
		"INFLUXDB_HTTP_FLUX_ENABLED=true",
		"INFLUXDB_HTTP_LOG_ENABLED=false",
	)
	cmd.Env = append(cmd.Env, s.Env...)
	log, err := cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.run, s.drained = cmd, make(chan struct{})
	address, said := make(chan string, 1), &strings.Builder{}
	go func() {
		defer close(s.drained)
		for lines := bufio.NewScanner(log); lines.Scan(); {
			if said.Len() < 64<<10 {
				said.WriteString(lines.Text() + "\n")
			}
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				address <- strings.Trim(m[1], `"`)
			}
		}
	}()
	select {
	case s.address = <-address:
	case <-s.drained:
		s.t.Fatalf("influxd ended at once:\n%s", said)
	case <-time.After(time.Minute):
		s.Kill()
		s.t.Fatalf("influxd does not come up:\n%s", said)
	}
	s.URL = "http://" + s.address
	resp, err := http.Get(s.URL + "/ping")
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
}

// Stop ends the server in good order.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Kill ends the server with SIGKILL.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

func (s *Server) end(sig syscall.Signal) {
	if s.run == nil {
		return
	}
	_ = s.run.Process.Signal(sig)
	<-s.drained
	_ = s.run.Wait()
	s.run = nil
	http.DefaultClient.CloseIdleConnections()
}

// Query runs InfluxQL over the server's own interface and gives every row of
// every statement as it stands in the answer: numbers, texts, times in ms.
func (s *Server) Query(db, q string) ([][]any, error) {
	resp, err := http.PostForm(s.URL+"/query", url.Values{"db": {db}, "epoch": {"ms"}, "q": {q}})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Results []struct {
			Series []struct{ Values [][]any }
			Error  string
		}
		Error string
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("status %d: %s", resp.StatusCode, body)
	}
	var rows [][]any
	for _, r := range answer.Results {
		answer.Error += r.Error
		for _, series := range r.Series {
			rows = append(rows, series.Values...)
		}
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("%s: %s", q, answer.Error)
	}
	return rows, nil
}

// Write writes lines over the server's own interface.
func (s *Server) Write(db, lines string) error {
	resp, err := http.Post(s.URL+"/write?precision=ms&db="+url.QueryEscape(db), "text/plain", strings.NewReader(lines))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		body, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("status %d: %s", resp.StatusCode, body)
	}
	return nil
}
