// Package recordingtest looks at recordings with ffmpeg, which is not ours, for
// the tests of whoever writes or hands on files of video.
package recordingtest

import (
	"bytes"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// FFmpeg runs it and gives what it writes; it must say nothing.
func FFmpeg(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ffmpeg", append([]string{"-nostdin", "-v", "error", "-threads", "1"}, args...)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil || said.Len() > 0 {
		t.Fatalf("ffmpeg %s: %v: %s", strings.Join(args, " "), err, said.String())
	}
	return out
}

// Picture is a decoded one: when it is shown, from the file's zero, and the MD5
// of what is on it.
type Picture struct {
	MS   int64
	Hash string
}

// Pictures gives those of a file in the order in which they are shown.
func Pictures(t *testing.T, path string) []Picture {
	t.Helper()
	return framemd5(t, 90, FFmpeg(t, "-copyts", "-i", path, "-fps_mode", "passthrough", "-enc_time_base", "1:90000", "-f", "framemd5", "-"))
}

// Hashes gives what is on the pictures of a file that need not have times, such
// as one of bare access units.
func Hashes(t *testing.T, path string) []string {
	t.Helper()
	var list []string
	for _, p := range framemd5(t, 1, FFmpeg(t, "-i", path, "-fps_mode", "passthrough", "-f", "framemd5", "-")) {
		list = append(list, p.Hash)
	}
	return list
}

// framemd5 reads lines of stream, decoding time, time, duration, size, hash, with
// so many ticks a millisecond.
func framemd5(t *testing.T, ticks int64, out []byte) []Picture {
	t.Helper()
	var list []Picture
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSpace(line), ",")
		if len(fields) != 6 || line[0] == '#' {
			continue
		}
		at, err := strconv.ParseInt(strings.TrimSpace(fields[2]), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, Picture{(at + ticks/2) / ticks, strings.TrimSpace(fields[5])})
	}
	return list
}
