package snapshot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"offsite/streams"
)

// A script in ffmpeg's place tells what a child may do.
func TestChildIsConfined(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ffmpeg")
	script := `#!/bin/sh
cat >/dev/null
echo links $(tail -n +3 /proc/net/dev | cut -d: -f1)
echo memory $(ulimit -v) cpu $(ulimit -t) files $(ulimit -f) core $(ulimit -c) open $(ulimit -n)
env | grep -v -e ^PWD= -e ^_= -e ^OLDPWD= -e ^SHLVL=
(echo x > ` + dir + `/written) 2>/dev/null
exit 0
`
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	cfg := Config{FFmpeg: path}
	cfg.setDefaults()
	d := newDecoder(cfg)
	out, err := d.jpeg(t.Context(), &streams.Frame{Params: &streams.Parameters{Codec: streams.H264}, NALUs: [][]byte{{1, 2}}})
	if err != nil {
		t.Fatal(err)
	}
	said := string(out)
	if !strings.Contains(said, "memory 1048576 cpu 5 files 0 core 0 open 32") {
		t.Errorf("limits: %s", said)
	}
	if strings.Contains(said, "PATH=") || !strings.Contains(said, "LC_ALL=C") {
		t.Errorf("environment: %s", said)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "written")); len(b) > 0 {
		t.Errorf("the child wrote a file: %q", b)
	}
	if d.loose.Load() {
		t.Skip("namespaces are not allowed here: the child keeps the gateway's network")
	}
	if !strings.Contains(said, "links lo\n") {
		t.Errorf("network: %s", said)
	}
}
