package snapshot

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"offsite/streams"
)

// probe builds the program that tries to get out, in a directory that any user
// may enter, beside a secret.
func probe(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "offsite-probe-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // for the user nobody
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("s3cret"), 0o644); err != nil { //nolint:gosec // so that its mode does not protect it
		t.Fatal(err)
	}
	path := filepath.Join(dir, "ffmpeg")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", path, "./testdata/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the probe: %v: %s", err, said)
	}
	return path
}

func TestChildCannotGetOut(t *testing.T) {
	path := probe(t)
	missing, err := lacking(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if len(missing) > 0 {
		t.Skip("this system lacks ", missing)
	}
	tests := []struct {
		name   string
		behind walls
		uid    string
	}{
		{"behind all walls", allWalls, "65534"},
		{"without namespaces", nobody, "65534"},
		{"as the gateway's own user", ownUser, "0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if os.Geteuid() != 0 && tt.behind != ownUser {
				t.Skip("needs root")
			}
			limits := Limits{Memory: 4 << 30} // Go reserves more than it uses
			limits.setDefaults()
			c := &child{path: path, limits: limits, log: slog.New(slog.DiscardHandler)}
			c.walls.Store(int32(tt.behind))
			out, err := c.jpeg(t.Context(), []*streams.Frame{{Params: &streams.Parameters{Codec: streams.H264}, NALUs: [][]byte{{1, 2}}}})
			if err != nil {
				t.Fatal(err)
			}
			if walls(c.walls.Load()) != tt.behind {
				t.Skip("this system grants no namespaces")
			}
			said := string(out)
			for line := range strings.Lines(said) {
				// Root stays root without a user of its own, but that opens nothing.
				if strings.HasPrefix(line, "done:") && (tt.behind != ownUser || !strings.Contains(line, "become root")) {
					t.Error(strings.TrimSpace(line))
				}
			}
			for _, want := range []string{"limit memory 4294967296 ", "limit cpu 5 ", "limit files 0 ", "limit core 0 ", "environment LC_ALL=C\n", "not: dial"} {
				if !strings.Contains(said, want) {
					t.Errorf("%q is not in\n%s", want, said)
				}
			}
			if os.Geteuid() == 0 && !strings.Contains(said, "uid "+tt.uid+"\n") {
				t.Errorf("user: %s", said)
			}
		})
	}
}

// lacking says what the system lacks, by a child that is started for it.
func lacking(ctx context.Context, path string) ([]string, error) {
	cmd := exec.CommandContext(ctx, path)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(""), io.Discard, io.Discard
	missing, err := start(cmd)
	if err != nil {
		return nil, err
	}
	return missing, cmd.Wait()
}
