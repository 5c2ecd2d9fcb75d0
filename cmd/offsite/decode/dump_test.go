package decode

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pieces gives what a dump says: hexadecimal, or "!" and the code of a refusal.
func pieces(t *testing.T, text string) (list []string) {
	t.Helper()
	in := readDumps(strings.NewReader(text))
	for p, ok := in.next(); ok; p, ok = in.next() {
		if p.problem != nil {
			list = append(list, "!"+p.problem.Code)
		} else {
			list = append(list, hex.EncodeToString(p.raw))
		}
	}
	if err := in.err(); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestDumpsAreReadAsTheyAreCopied(t *testing.T) {
	const sixteen = "23233031303130313031303130313031"
	tests := []struct {
		name, text string
		sure       bool // it is recognised by itself
		want       []string
	}{
		{"nothing", "", false, nil},
		{"pairs", "23 23 30 31 30 31 51 4E\n", true, []string{"232330313031514e"}},
		{"groups", "2323 3031 3031 514e", true, []string{"232330313031514e"}},
		{"colons", "23:23:30:31:30:31:51:4e", true, []string{"232330313031514e"}},
		{"C", `0x23, 0x23, 0x30, 0x31, 0x30, 0x31, 0x51, 0x4e,`, true, []string{"232330313031514e"}},
		{"escapes", `\x23\x23\x30\x31\x30\x31\x51\x4e`, true, []string{"232330313031514e"}},
		{"too few to be sure", "23 23 30 31", false, []string{"23233031"}},
		{"eight digits are bytes", "23233031\n", false, []string{"23233031"}},
		{"time and direction", "2024-06-01 12:00:01.250 Tx: 01 03 00 00 00 02 c4 0b", true, []string{"010300000002c40b"}},
		{"time in brackets", "[12:00:01]收←◆01 03 00 00 00 02 C4 0B", true, []string{"010300000002c40b"}},
		{"heading", "[2024-06-01 12:00:01.250]# RECV HEX>\n01 03 00 00 00 02 c4 0b\n\n[2024-06-01 12:00:01.300]# SEND HEX>\n01", true, []string{"010300000002c40b", "01"}},
		{"hexdump -C", "00000000  23 23 30 31 30 31 30 31  30 31 30 31 30 31 30 31  |##01010101010101|\n00000010  41 42                                             |AB|\n00000012\n", true, []string{sixteen + "4142"}},
		{"a last line of eight", "00000000  23 23 30 31 30 31 30 31                           |##010101|\n00000008\n", true, []string{"2323303130313031"}},
		{"xxd", "00000000: 2323 3031 3031 3031 3031 3031 3031 3031  ##01010101010101\n00000010: 4142                                     AB\n", true, []string{sixteen + "4142"}},
		{"Wireshark", "0000   23 23 30 31 30 31 30 31 30 31 30 31 30 31 30 31   ##01010101010101\n0010   41 42                                             AB\n", true, []string{sixteen + "4142"}},
		{"od", "000000 23 23 30 31 30 31 30 31 30 31 30 31 30 31 30 31\n000010 41 42\n000012\n", true, []string{sixteen + "4142"}},
		{"followed stream", "    00000000  23 23 30 31                                         ##01\n00000000  41 42                                               AB\n", true, []string{"23233031", "4142"}},
		{"two dumps", "0000   01 02   ..\n0000   03   .\n", true, []string{"0102", "03"}},
		{"Ethernet frame filled up", ethernet("4500 002a 0000 4000 4006 0000 0a000007 0a000001 9c40 01f6 00000001 00000001 5018 0200 0000 0000 0102", "0000 0000"), true, []string{"0102"}},
		{"UDP", ethernet("4500 001f 0000 4000 4011 0000 0a000007 0a000001 9c40 01f6 000b 0000 010203"), true, []string{"010203"}},
		{"without data", ethernet("4500 0028 0000 4000 4006 0000 0a000007 0a000001 9c40 01f6 00000001 00000001 5010 0200 0000 0000"), true, nil},
		{"a line is missing", "0000   01 02\n0004   03 04\n0006   05\n", true, []string{"!bytes_missing"}},
		{"the end alone", "00000010: 4142                                     AB\n", false, []string{"!bytes_missing"}},
		{"what repeats", "00000000  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00\n*\n00000040  01\n00000041\n", true, []string{"!bytes_missing"}},
		{"half a byte", "23 23 30 31 30 31 51 4e 3\n", false, []string{"!not_hexadecimal"}},
		{"a frame of text", "##0101QN=2016\n", false, []string{"!not_hexadecimal"}},
		{"JSON", `[{"n":"t","v":1}]`, false, []string{"!not_hexadecimal"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, pieces(t, tt.text)); diff != "" {
				t.Error(diff)
			}
			if got := startsAsDump(bufio.NewReader(strings.NewReader(tt.text))); got != tt.sure {
				t.Errorf("recognised: %v, want %v", got, tt.sure)
			}
		})
	}
}

// ethernet gives a captured packet as Wireshark copies it.
func ethernet(packet ...string) string {
	raw, err := hex.DecodeString("020000000001" + "020000000002" + "0800" + strings.ReplaceAll(strings.Join(packet, ""), " ", ""))
	if err != nil {
		panic(err)
	}
	return hex.Dump(raw)
}

// A frame that arrives before anything follows it is looked at as it is: the
// reader of a live stream does not wait for a second line.
func TestALiveStreamIsNotHeldUp(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	go func() { _, _ = io.WriteString(w, "##00") }()
	if startsAsDump(bufio.NewReader(r)) {
		t.Error("a frame was taken for a dump")
	}
}

// FuzzDump reads back whatever bytes were printed, and never panics.
func FuzzDump(f *testing.F) {
	f.Add([]byte("##0101QN=1\r\n"), "00000000  23 23\n*\n00000040\n")
	f.Add([]byte{0x45, 0}, "12:00:00.1 IP a > b: length 0\n\t0x0000:  4500 0034\n")
	f.Fuzz(func(t *testing.T, raw []byte, text string) {
		_ = startsAsDump(bufio.NewReader(strings.NewReader(text)))
		_ = pieces(t, text[:min(len(text), maxLine/2)])
		if len(raw) == 0 || len(raw) > 4096 || len(withoutHeaders(raw)) != len(raw) {
			return
		}
		want := []string{hex.EncodeToString(raw)}
		for _, printed := range []string{hex.Dump(raw), xxd(raw), fmt.Sprintf("% x", raw)} {
			if diff := cmp.Diff(want, pieces(t, printed)); diff != "" {
				t.Errorf("%s\n%s", printed, diff)
			}
		}
	})
}

// xxd prints raw in groups of two, with what can be shown behind them.
func xxd(raw []byte) string {
	var out strings.Builder
	for at := 0; at < len(raw); at += 16 {
		line := raw[at:min(at+16, len(raw))]
		var groups []string
		for from := 0; from < len(line); from += 2 {
			groups = append(groups, hex.EncodeToString(line[from:min(from+2, len(line))]))
		}
		shown := bytes.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return '.'
			}
			return r
		}, line)
		fmt.Fprintf(&out, "%08x: %-39s  %s\n", at, strings.Join(groups, " "), shown)
	}
	return out.String()
}
