package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
)

// framed puts a segment into a frame as a logger would.
func framed(segment string) string {
	return string(AppendFrame(nil, []byte(segment), CRC([]byte(segment))))
}

// decodeAll gives what is found in stream when it comes in pieces of n bytes: a
// line for each frame, its QN or, in brackets, the code of the refusal.
func decodeAll(d *Decoder, stream []byte, n int) (lines []string) {
	collect := func() {
		for {
			f, ok := d.Next()
			switch {
			case !ok:
				return
			case f.Refused != nil:
				lines = append(lines, "["+f.Refused.Code+"]")
			default:
				lines = append(lines, f.Packet.QN)
			}
		}
	}
	for len(stream) > 0 {
		k := min(n, len(stream))
		_, _ = d.Write(stream[:k])
		stream = stream[k:]
		collect()
	}
	d.End()
	collect()
	return lines
}

func TestCRCIsThatOfTheStandards(t *testing.T) {
	tests := []struct {
		name, segment string
		want          uint16
	}{
		{"check digits", "123456789", 0x2f80},
		{"HJ 212-2017 Annex A", "QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;CP=&&RtdInterval=30&&", 0x1c80},
		{"HJ 212-2025, text example", "QN=20240601085857223;ST=32;CN=1011;PW=123456;MN=010000A8900016F000169DC0;Flag=9;CP=&&&&", 0x2200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := CRC([]byte(tt.segment)); got != tt.want {
				t.Errorf("CRC = %04X, want %04X", got, tt.want)
			}
		})
	}
}

// shared gives the packets of the shared file by rows of status, note and frame.
func shared(t testing.TB) [][3]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "data", "hj212", "packets.tsv"))
	if err != nil {
		t.Skip("the file of collected packets is not beside the repository:", err)
	}
	var rows [][3]string
	for line := range strings.Lines(string(text)) {
		columns := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(columns) < 6 {
			continue
		}
		note := strings.Join(columns[6:], " ")
		rows = append(rows, [3]string{columns[0], note, columns[5]})
	}
	if len(rows) != 38 {
		t.Fatalf("%d packets, want 38", len(rows))
	}
	return rows
}

func TestCollectedPackets(t *testing.T) {
	for i, row := range shared(t) {
		status, note, frame := row[0], row[1], row[2]
		t.Run(fmt.Sprintf("%d %s", i+1, status), func(t *testing.T) {
			for _, tolerant := range []bool{false, true} {
				d := Decoder{Tolerant: tolerant}
				_, _ = d.Write([]byte(frame + "\r\n"))
				d.End()
				f, ok := d.Next()
				if !ok {
					t.Fatal("nothing was found")
				}
				want := status == "VALID" || status == "SEGMENT" || status == "DERIVED" || status == "DIALECT" && tolerant
				if got := f.Refused == nil; got != want {
					t.Errorf("tolerant %v: accepted %v, want %v: %v", tolerant, got, want, f.Refused)
				}
				if right, ok := strings.CutPrefix(note, "# right CRC "); ok && !strings.Contains(f.Refused.EN, right) {
					t.Errorf("reason %q does not tell the right CRC %s", f.Refused.EN, right)
				}
				if f, more := d.Next(); more {
					t.Errorf("another frame: %+v", f)
				}
			}
		})
	}
}

const (
	head  = "QN=20240101000000001;ST=32;CN=2011;PW=123456;MN=M1;Flag=5;"
	whole = head + "CP=&&DataTime=20240101000000;w01018-Rtd=12.50,w01018-Flag=N&&"
)

// wrong gives the frame of segment with the digits of length as stated.
func wrong(length, segment string) string {
	return "##" + length + strings.TrimPrefix(framed(segment), fmt.Sprintf("##%04d", len(segment)))
}

func TestStrictAndTolerant(t *testing.T) {
	n := len(whole)
	tests := []struct{ name, stream, strict, tolerant string }{
		{"as it should be", framed(whole), "ok", "ok"},
		{"lower-case CRC", framed(whole)[:n+6] + strings.ToLower(framed(whole)[n+6:]), "ok", "ok"},
		{"three digits of length", wrong("99", whole), "[bad_length]", "ok"},
		{"length counts the CRC", wrong(fmt.Sprintf("%04d", n+4), whole), "[bad_length]", "ok"},
		{"length too small", wrong(fmt.Sprintf("%04d", n-9), whole), "[bad_length]", "ok"},
		{"length beyond the longest", wrong("1025", whole), "[too_long]", "ok"},
		{"no CR LF, frames without gap", strings.ReplaceAll(framed(whole)+framed(whole), "\r\n", ""), "[no_crlf] [no_crlf]", "ok ok"},
		{"two frames at once", framed(whole) + framed(whole), "ok ok", "ok ok"},
		{"semicolon before the end", framed(strings.TrimSuffix(whole, "&&") + ";&&"), "[trailing_semicolon]", "ok"},
		{"milliseconds in DataTime", framed(strings.Replace(whole, "=20240101000000;", "=20240101000000123;", 1)), "[datatime_ms]", "ok"},
		{"impossible DataTime", framed(strings.Replace(whole, "=20240101000000;", "=20241301000000;", 1)), "[bad_time]", "[bad_time]"},
		{"clock never set", framed(strings.Replace(whole, "=20240101000000;", "=19700101000000;", 1)), "[bad_time]", "[bad_time]"},
		{"QN without milliseconds", framed(strings.Replace(whole, "000001;", "000;", 1)), "ok", "ok"},
		{"PNO before PNUM", framed("QN=20240101000000001;ST=32;CN=2011;PW=1;MN=M1;Flag=7;PNO=1;PNUM=2;CP=&&&&"), "[field_order]", "ok"},
		{"RF anywhere", framed("QN=20240101000000001;ST=32;CN=2011;PW=1;MN=M1;RF=1;Flag=11;PNUM=2;PNO=1;CP=&&&&") + framed("QN=20240101000000001;ST=32;CN=2011;PW=1;MN=M1;Flag=11;PNUM=2;PNO=1;RF=1;CP=&&&&"), "ok ok", "ok ok"},
		{"PNO beyond PNUM", framed("QN=20240101000000001;ST=32;CN=2011;PW=1;MN=M1;Flag=7;PNUM=2;PNO=3;CP=&&&&"), "[out_of_range]", "[out_of_range]"},
		{"flag says split, numbers missing", framed("QN=20240101000000001;ST=32;CN=2011;PW=1;MN=M1;Flag=7;CP=&&&&"), "[packet_numbers]", "ok"},
		{"no MN", framed("QN=20240101000000001;ST=32;CN=2011;PW=1;Flag=5;CP=&&&&"), "[bad_mn]", "[bad_mn]"},
		{"field twice", framed("QN=20240101000000001;ST=32;CN=2011;PW=1;MN=a;MN=b;Flag=5;CP=&&&&"), "[named_twice]", "[named_twice]"},
		{"no data area", framed("QN=20240101000000001;ST=32;CN=2011;PW=1;MN=a;Flag=5;&&"), "[missing]", "[missing]"},
		{"CRC of another segment", strings.Replace(framed(whole), "12.50", "12.51", 1), "[bad_crc]", "[bad_crc]"},
		{"half a frame, then a whole one", framed(whole)[:60] + framed(whole), "[truncated] ok", "[truncated] ok"},
		{"garbage around", "hello" + framed(whole) + "\x00\xff#" + framed(whole) + "##", "[garbage] ok [garbage] ok [truncated]", "[garbage] ok [garbage] ok [truncated]"},
		{"free factor names", framed(head + "CP=&&DataTime=20240101000000;PM10-Rtd=1,PM10-Flag=N;LA-td=5&&"), "ok", "ok"},
		{"an item without a name", framed(head + "CP=&&=1&&"), "[bad_field]", "ok"},
		{"text with separators", framed(head + "CP=&&DataTime=20240101000000;i11001-Info=//a;b,c//&&"), "ok", "ok"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{1, 7, len(tt.stream)} {
				for _, mode := range []struct {
					tolerant bool
					want     string
				}{{false, tt.strict}, {true, tt.tolerant}} {
					lines := decodeAll(&Decoder{Tolerant: mode.tolerant}, []byte(tt.stream), size)
					for i, l := range lines {
						if !strings.HasPrefix(l, "[") {
							lines[i] = "ok"
						}
					}
					if got := strings.Join(lines, " "); got != mode.want {
						t.Errorf("tolerant %v, pieces of %d: %s, want %s", mode.tolerant, size, got, mode.want)
					}
				}
			}
		})
	}
}

func TestAHalfFrameHoldsUpNobody(t *testing.T) {
	var d Decoder
	_, _ = d.Write([]byte(framed(whole)[:40]))
	if _, ok := d.Next(); ok {
		t.Fatal("half a frame was given")
	}
	short := framed(head + "CP=&&&&")
	_, _ = d.Write([]byte(short))
	if f, ok := d.Next(); !ok || f.Refused == nil || f.Refused.Code != "truncated" {
		t.Fatalf("got %+v, want the refusal of the half", f)
	}
	if f, ok := d.Next(); !ok || f.Refused != nil {
		t.Fatalf("got %+v, want the frame behind the half", f)
	}
}

func TestPacketAsJSON(t *testing.T) {
	d := Decoder{}
	_, _ = d.Write([]byte(framed("QN=20240101000000001;ST=32;CN=2061;PW=1;MN=M1;Flag=7;PNUM=2;PNO=1;CP=&&DataTime=20240101000000;011-SampleTime=20240101000102,011-Avg=0.50,011-Flag=N;B01-Cou=+3&&")))
	f, _ := d.Next()
	got, err := json.Marshal(f.Packet)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"qn":"20240101000000001","st":"32","cn":"2061","pw":"1","mn":"M1","flag":7,"answer_wanted":true,"version":"2017","pnum":2,"pno":1,` +
		`"cp":[{"DataTime":"20240101000000"},{"011-SampleTime":"20240101000102","011-Avg":"0.50","011-Flag":"N"},{"B01-Cou":"+3"}],` +
		`"datatime":"20240101000000","at":"2024-01-01T00:00:00+08:00",` +
		`"factors":{"011":{"SampleTime":"20240101000102","Avg":0.50,"Flag":"N"},"B01":{"Cou":3}},"crc":"` + fmt.Sprintf("%04X", f.Packet.CRC) + `","length":` + strconv.Itoa(f.Packet.Length) + `}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestEncryptedArea(t *testing.T) {
	cipher, err := NewCipher("0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	p := &Packet{
		QN: "20260101000000001", ST: "32", CN: "2011", PW: "123456", MN: "M1", Flag: 9, Resent: true,
		CP: []Item{{{"DataTime", "20260101000000"}}, {{"w01018-Rtd", "12.5"}, {"w01018-Flag", "N"}}},
	}
	frame := p.Append(nil, cipher)
	if bytes.Contains(frame, []byte("w01018-Rtd")) || len(frame) != len(p.Append(nil, nil)) {
		t.Fatalf("frame %q", frame)
	}
	for _, size := range []int{1, 13, len(frame)} {
		d := Decoder{Key: func(mn string) *Cipher {
			if mn != "M1" {
				t.Errorf("asked for the key of %q", mn)
			}
			return cipher
		}}
		var found []Frame
		for rest := frame; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			_, _ = d.Write(rest[:min(size, len(rest))])
			if f, ok := d.Next(); ok {
				found = append(found, f)
			}
		}
		if len(found) != 1 || found[0].Refused != nil {
			t.Fatalf("pieces of %d: found %+v", size, found)
		}
		if diff := cmp.Diff(p.CP, found[0].Packet.CP); diff != "" || !found[0].Packet.Encrypted || !found[0].Packet.Resent {
			t.Error(diff, found[0].Packet)
		}
	}
	for name, tt := range map[string]struct {
		key   *Cipher
		frame []byte
		want  string
	}{
		"no key":           {nil, frame, "[bad_crc]"},
		"plain with a key": {cipher, p.Append(nil, nil), "[not_encrypted]"},
	} {
		t.Run(name, func(t *testing.T) {
			d := Decoder{Key: func(string) *Cipher { return tt.key }}
			if got := decodeAll(&d, tt.frame, len(tt.frame)); len(got) != 1 || got[0] != tt.want {
				t.Errorf("got %v, want %s", got, tt.want)
			}
		})
	}
	if _, err := NewCipher(devices.Secret("short")); err == nil {
		t.Error("a short key was taken")
	}
}

// A stranger may send what it likes, byte by byte: the work for each byte stays
// bounded.
func BenchmarkStreamWithoutSense(b *testing.B) {
	for name, unit := range map[string]string{"starts": "##1", "ends": "CP=&&AAAA&&AAAA", "plain": "a"} {
		b.Run(name, func(b *testing.B) {
			d := Decoder{Tolerant: true}
			stream := "##1024" + strings.Repeat(unit, 400)
			for i := 0; b.Loop(); i++ {
				_, _ = d.Write([]byte{stream[i%len(stream)]})
				for {
					if _, ok := d.Next(); !ok {
						break
					}
				}
			}
		})
	}
}

// FuzzDecoder finds the same frames however the stream is cut, and never more
// than the bytes hold.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte(framed(whole)+framed(whole)[:50]+framed(whole)), uint8(3), true)
	f.Add([]byte("##0010##0004CP=&&&&"), uint8(1), false)
	f.Add([]byte("##99"+whole+"1C80##"), uint8(2), true)
	if text, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "data", "hj212", "packets.tsv")); err == nil {
		f.Add(text, uint8(11), false)
	}
	f.Fuzz(func(t *testing.T, stream []byte, size uint8, tolerant bool) {
		d := Decoder{Tolerant: tolerant}
		frames := decodeAll(&d, stream, int(size)+1)
		if len(frames) > len(stream)/2+1 {
			t.Fatalf("%d frames in %d bytes", len(frames), len(stream))
		}
		if len(d.buf)-d.start > 0 {
			t.Fatalf("%d bytes are left at the end", len(d.buf)-d.start)
		}
		if tolerant {
			return // what a tolerant decoder takes for the end may depend on what it has seen
		}
		if diff := cmp.Diff(accepted(decodeAll(&Decoder{}, stream, len(stream)+1)), accepted(frames)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// accepted are the frames that were not refused.
func accepted(lines []string) (good []string) {
	for _, l := range lines {
		if !strings.HasPrefix(l, "[") {
			good = append(good, l)
		}
	}
	return good
}

// FuzzPacket reads what any data area says, and shows it as JSON, without panic.
func FuzzPacket(f *testing.F) {
	f.Add("DataTime=20240101000000;w01018-Rtd=12.50,w01018-Flag=N", "2011")
	f.Add("DataTime=20240101000000;011-SampleTime=20240101000000,011-Rtd=1e308,011-Flag=T;i-Info=//a;b//", "2061")
	f.Add("=;,-=;a-=;-b=1;w01018-Rtd=NaN;\xff-Rtd=\xfe", "2031")
	f.Fuzz(func(t *testing.T, area, cn string) {
		p, _ := parse([]byte("ST=32;CN="+cn+";PW=p;MN=M;CP=&&"+area+"&&"), true)
		if text, err := json.Marshal(p); err != nil || !json.Valid(text) {
			t.Fatalf("%s: %v", text, err)
		}
	})
}
