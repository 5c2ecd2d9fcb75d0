// Package influxtest runs a real InfluxDB 1.8 for tests. The program influxd
// is looked for in OFFSITE_INFLUXD, on the PATH, and in offsite/bin of the
// user's cache folder, where deploy/test builds it.
package influxtest

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
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

	program string
	dir     string
	address string
	run     *exec.Cmd
	drained chan struct{}
}

// Start starts a server for a test and creates database db. Where influxd is
// missing it skips the test, or fails it where CI is set. env adds to
// influxd's own.
func Start(t testing.TB, db string, env ...string) *Server {
	t.Helper()
	s, err := Run(t.Context(), t.TempDir(), env...)
	switch {
	case errors.Is(err, errMissing) && os.Getenv("CI") == "":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	if _, err := s.Query("", "CREATE DATABASE "+db); err != nil {
		t.Fatal(err)
	}
	return s
}

var errMissing = errors.New("influxd 1.8 is not there: go install github.com/influxdata/influxdb/cmd/influxd@v1.8.10, or set OFFSITE_INFLUXD")

// Run starts a server on dir; an empty dir means one that Remove removes.
func Run(ctx context.Context, dir string, env ...string) (s *Server, err error) {
	s = &Server{program: find(), dir: dir, Env: env, address: "127.0.0.1:0"}
	if s.program == "" {
		return nil, errMissing
	}
	if dir == "" {
		if s.dir, err = os.MkdirTemp("", "influxd-"); err != nil {
			return nil, err
		}
	}
	return s, s.Restart(ctx)
}

// Remove stops the server and deletes its data.
func (s *Server) Remove() error {
	s.Kill()
	return os.RemoveAll(s.dir)
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
// listens. Its life does not depend on ctx.
func (s *Server) Restart(ctx context.Context) error {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), s.program, "-config", os.DevNull)
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
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.run, s.drained = cmd, make(chan struct{})
	address, said := make(chan string, 1), &strings.Builder{}
	go func() {
		defer close(s.drained)
		for lines := bufio.NewScanner(log); lines.Scan(); {
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				address <- strings.Trim(m[1], `"`)
			} else if len(address) == 0 && said.Len() < 64<<10 {
				said.WriteString(lines.Text() + "\n")
			}
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	select {
	case s.address = <-address:
		s.URL = "http://" + s.address
		return nil
	case <-s.drained:
	case <-ctx.Done():
	}
	s.Kill()
	return fmt.Errorf("influxd does not come up:\n%s", said)
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
	form := url.Values{"db": {db}, "epoch": {"ms"}, "q": {q}}
	status, body, err := s.post("/query", "application/x-www-form-urlencoded", form.Encode())
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
		return nil, fmt.Errorf("status %d: %s", status, body)
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
	status, body, err := s.post("/write?precision=ms&db="+url.QueryEscape(db), "text/plain", lines)
	if err == nil && status != http.StatusNoContent {
		err = fmt.Errorf("status %d: %s", status, body)
	}
	return err
}

func (s *Server) post(path, kind, body string) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, s.URL+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}
