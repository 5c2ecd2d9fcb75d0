package evidence

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
)

func openVault(t *testing.T, dir string) *Vault {
	t.Helper()
	v, err := OpenVault(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

func code(err error) string {
	if p, ok := errors.AsType[*devices.Problem](err); ok {
		return p.Code
	}
	return ""
}

func TestVaultKeepsBytesByTheirHash(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "evidence")
	v := openVault(t, dir)
	data := []byte("a picture")
	sum := sha256.Sum256(data)
	want := hex.EncodeToString(sum[:])
	for range 2 { // the same again is the same file
		sha, err := v.Put(data)
		if err != nil || sha != want {
			t.Fatalf("Put gave %s, %v", sha, err)
		}
	}
	f, err := openVault(t, dir).Open(want) // after a restart
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %q, %v", got, err)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 1 {
		t.Errorf("the directory holds %v, %v", names, err)
	}
}

func TestVaultNoticesEveryFlippedBit(t *testing.T) {
	dir := t.TempDir()
	v := openVault(t, dir)
	data := []byte("a picture of the breach")
	sha, err := v.Put(data)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, sha)
	for i := range len(data) * 8 {
		altered := bytes.Clone(data)
		altered[i/8] ^= 1 << (i % 8)
		if err := os.WriteFile(path, altered, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Open(sha); code(err) != "evidence_damaged" || !errors.Is(err, devices.ErrUnavailable) {
			t.Fatalf("bit %d: %v", i, err)
		}
	}
	if _, err := v.Put(data); err != nil { // made good
		t.Fatal(err)
	}
	f, err := v.Open(sha)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestVaultOpensNothingElse(t *testing.T) {
	parent := t.TempDir()
	if err := os.WriteFile(filepath.Join(parent, "offsite.key"), []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(parent, "evidence")
	v := openVault(t, dir)
	link := strings.Repeat("a", 64)
	if err := os.Symlink("../offsite.key", filepath.Join(dir, link)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, strings.Repeat("b", 64)), 0o700); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, sha string
		want      string
	}{
		{"up", "../offsite.key", "bad_hash"},
		{"empty", "", "bad_hash"},
		{"capitals", strings.Repeat("A", 64), "bad_hash"},
		{"a half file", incoming + "x", "bad_hash"},
		{"absent", strings.Repeat("0", 64), "evidence_not_found"},
		{"a link out of the vault", link, "disk_error"},
		{"a directory", strings.Repeat("b", 64), "evidence_damaged"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := v.Open(tt.sha)
			if code(err) != tt.want {
				t.Errorf("got %v, %v", f, err)
			}
		})
	}
}

func TestVaultLimitsAndLeftovers(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, incoming+"half"), []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	v := openVault(t, dir)
	if _, err := v.Put(make([]byte, LargestFile+1)); code(err) != "evidence_too_large" {
		t.Errorf("got %v", err)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 0 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

func TestMediaType(t *testing.T) {
	v := openVault(t, t.TempDir())
	tests := []struct{ name, data, want string }{
		{"jpeg", "\xff\xd8\xff\xe0 and so on", "image/jpeg"},
		{"mp4", "\x00\x00\x00\x20ftypisom", "video/mp4"},
		{"other", "<script>alert(1)</script>", "application/octet-stream"},
		{"short", "x", "application/octet-stream"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sha, err := v.Put([]byte(tt.data))
			if err != nil {
				t.Fatal(err)
			}
			if got := v.MediaType(sha); got != tt.want {
				t.Errorf("got %s", got)
			}
		})
	}
	if got := v.MediaType("../x"); got != "application/octet-stream" {
		t.Errorf("got %s", got)
	}
}

// TestVaultUnderStrace puts a file in a child under strace and looks at the
// order of its system calls, and at what injected faults leave behind.
func TestVaultUnderStrace(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	tests := []struct {
		name   string
		inject []string
		want   string // of the child
		kept   bool
	}{
		{"order", nil, "kept", true},
		{"fsync fails", []string{"-e", "inject=fsync:error=EIO"}, "disk_error", false},
		{"the directory's fsync fails", []string{"-e", "inject=fsync:error=EIO", "-P", "DIR"}, "disk_error", true},
		{"rename fails", []string{"-e", "inject=renameat,renameat2:error=EIO"}, "disk_error", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			vault := filepath.Join(dir, "evidence")
			if err := os.Mkdir(vault, 0o700); err != nil {
				t.Fatal(err)
			}
			args := []string{"-f", "-o", filepath.Join(dir, "trace"), "-e", "trace=openat,write,fsync,renameat,renameat2"}
			for _, arg := range tt.inject {
				args = append(args, strings.ReplaceAll(arg, "DIR", vault))
			}
			args = append(args, os.Args[0], "-test.run=^TestVaultChild$", "-test.v")
			cmd := exec.CommandContext(t.Context(), strace, args...)
			cmd.Env = append(os.Environ(), "VAULT_CHILD="+vault)
			out, err := cmd.CombinedOutput()
			if bytes.Contains(out, []byte("ptrace")) {
				t.Skip("strace may not trace here")
			}
			if err != nil || !bytes.Contains(out, []byte("outcome="+tt.want)) {
				t.Fatalf("child: %v\n%s", err, out)
			}
			sum := sha256.Sum256([]byte(childPicture))
			_, err = os.Stat(filepath.Join(vault, hex.EncodeToString(sum[:])))
			if kept := err == nil; kept != tt.kept {
				t.Errorf("file kept: %v", kept)
			}
			if tt.inject != nil {
				return
			}
			trace, err := os.ReadFile(filepath.Join(dir, "trace"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"open", "write", "fsync", "rename", "fsync"}, callsOf(string(trace))); diff != "" {
				t.Errorf("%s\n%s", diff, trace)
			}
		})
	}
}

const childPicture = "the picture that the child puts"

// callsOf picks what concerns the file and its directory out of a trace.
func callsOf(trace string) []string {
	var out []string
	call := regexp.MustCompile(`\b(openat|write|fsync|renameat2?)\((.*)`)
	for line := range strings.Lines(trace) {
		m := call.FindStringSubmatch(line)
		switch {
		case m == nil:
		case m[1] == "openat" && strings.Contains(m[2], incoming):
			out = append(out, "open")
		case m[1] == "write" && strings.Contains(m[2], childPicture[:20]):
			out = append(out, "write")
		case m[1] == "fsync":
			out = append(out, "fsync")
		case strings.HasPrefix(m[1], "rename"):
			out = append(out, "rename")
		}
	}
	return out
}

// TestVaultChild is the child of TestVaultUnderStrace.
func TestVaultChild(t *testing.T) {
	dir := os.Getenv("VAULT_CHILD")
	if dir == "" {
		t.Skip("runs only as the child of TestVaultUnderStrace")
	}
	_, err := openVault(t, dir).Put([]byte(childPicture))
	outcome := "kept"
	if err != nil {
		outcome = code(err)
	}
	t.Logf("outcome=%s", outcome)
}

func TestAFullDiskIsNamed(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may mount a small disk")
	}
	dir := t.TempDir()
	ctx := context.WithoutCancel(t.Context())
	if out, err := exec.CommandContext(ctx, "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("no small disk here: %s", out)
	}
	t.Cleanup(func() {
		if out, err := exec.CommandContext(ctx, "umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	v := openVault(t, dir)
	if _, err := v.Put(make([]byte, 1<<20)); code(err) != "disk_full" {
		t.Errorf("got %v", err)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 0 {
		t.Errorf("left behind: %v, %v", names, err)
	}
	if _, err := v.Put([]byte("small")); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func FuzzVaultOpen(f *testing.F) {
	v, err := OpenVault(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	f.Add("../offsite.key")
	f.Add(strings.Repeat("0", 64))
	f.Fuzz(func(t *testing.T, name string) {
		if file, err := v.Open(name); err == nil {
			t.Fatalf("opened %s", file.Name())
		}
		v.MediaType(name)
	})
}
