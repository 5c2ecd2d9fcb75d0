package wire_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/devices/modbus/wire"
)

// rtu puts a checksum behind bytes in hexadecimal.
func rtu(body string) string {
	raw, err := hex.DecodeString(body)
	if err != nil {
		panic(err)
	}
	crc := wire.CRC16(raw)
	return fmt.Sprintf("%s%02x%02x", body, byte(crc), byte(crc>>8))
}

// tell writes what matters of a frame on one line.
func tell(f *wire.Frame) string {
	parts := []string{f.Framing, f.Direction, fmt.Sprint(f.Unit), f.Name.EN}
	if f.Transaction != nil {
		parts = append(parts, fmt.Sprintf("#%d", *f.Transaction))
	}
	if f.Address != nil {
		parts = append(parts, fmt.Sprintf("at %d x%d", *f.Address, *f.Quantity))
	}
	if f.AddressTo != nil {
		parts = append(parts, fmt.Sprintf("to %d", *f.AddressTo))
	}
	if f.Values != nil {
		parts = append(parts, fmt.Sprint(f.Values))
	}
	if f.Bits != nil {
		parts = append(parts, "bits "+strings.Trim(fmt.Sprint(f.Bits), "[]"))
	}
	if f.AndMask != "" {
		parts = append(parts, "and "+f.AndMask+" or "+f.OrMask)
	}
	if f.Data != "" {
		parts = append(parts, "data "+f.Data)
	}
	if f.Exception != nil {
		parts = append(parts, fmt.Sprintf("exception %d", f.Exception.Code))
	}
	if f.Ambiguous {
		parts = append(parts, "ambiguous")
	}
	return strings.Join(append(parts, f.Dialects...), ", ")
}

func TestFrames(t *testing.T) {
	tests := []struct {
		name   string
		reader wire.Reader
		lines  []string
		want   string // of the last line; "!" and the code of a refusal
	}{
		{"TCP request", wire.Reader{}, []string{"0001 0000 0006 01 03 0010 0002"}, "tcp, request, 1, read holding registers, #1, at 16 x2"},
		{"cut short and with commas", wire.Reader{}, []string{"0x00,0x01,00"}, "!truncated"},
		{"TCP answer without its request", wire.Reader{}, []string{"00 01 00 00 00 07 01 04 04 41 C8 00 00"}, "tcp, response, 1, read input registers, #1, [16840 0]"},
		{"TCP answer behind its request", wire.Reader{}, []string{"000100000006010400100002", "00010000000701040441C80000"}, "tcp, response, 1, read input registers, #1, at 16 x2, [16840 0]"},
		{"answer of another size than its request's", wire.Reader{}, []string{"000100000006010400100003", "00010000000701040441C80000"}, "tcp, response, 1, read input registers, #1, [16840 0]"},
		{"RTU request that resembles a header of TCP", wire.Reader{}, []string{"01 03 00 00 00 02 C4 0B"}, "rtu, request, 1, read holding registers, at 0 x2"},
		{"RTU with the label of a simulator", wire.Reader{}, []string{"000012-Tx:01 03 00 00 00 02 C4 0B"}, "rtu, request, 1, read holding registers, at 0 x2"},
		{"RTU answer", wire.Reader{}, []string{rtu("010300000002"), rtu("01030401020304")}, "rtu, response, 1, read holding registers, at 0 x2, [258 772]"},
		{"RTU wrong CRC", wire.Reader{}, []string{"01030000000244FF"}, "!bad_crc"},
		{"RTU CRC high byte first", wire.Reader{}, []string{"0103000000020BC4"}, "!bad_crc"},
		{"the same, tolerant", wire.Reader{Tolerant: true}, []string{"0103000000020BC4"}, "rtu, request, 1, read holding registers, at 0 x2, crc_high_byte_first"},
		{"ASCII request", wire.Reader{}, []string{":010300000002FA"}, "ascii, request, 1, read holding registers, at 0 x2"},
		{"ASCII wrong LRC", wire.Reader{}, []string{":010300000002FB"}, "!bad_lrc"},
		{"ASCII in small letters", wire.Reader{}, []string{":010300000002fa"}, "!lower_case"},
		{"the same, tolerant", wire.Reader{Tolerant: true}, []string{":010300000002fa"}, "ascii, request, 1, read holding registers, at 0 x2, lower_case"},
		{"ASCII where RTU was asked for", wire.Reader{Framing: wire.RTU}, []string{":010300000002FA"}, "!ascii_frame"},
		{"hexadecimal where ASCII was asked for", wire.Reader{Framing: wire.ASCII}, []string{"010300000002C40B"}, "!no_colon"},
		{"exception", wire.Reader{}, []string{"000100000006010300100002", "0001 0000 0003 01 83 02"}, "tcp, response, 1, read holding registers, #1, at 16 x2, exception 2"},
		{"write one register", wire.Reader{}, []string{rtu("01060001000a")}, "rtu, either, 1, write single register, at 1 x1, [10]"},
		{"the same, stated to be an answer", wire.Reader{Direction: wire.Response}, []string{rtu("01060001000a")}, "rtu, response, 1, write single register, at 1 x1, [10]"},
		{"write one coil", wire.Reader{}, []string{rtu("01050001ff00")}, "rtu, either, 1, write single coil, at 1 x1, bits 1"},
		{"write one coil to what no coil is", wire.Reader{}, []string{rtu("010500011234")}, "rtu, either, 1, write single coil, at 1 x1, data 1234"},
		{"write coils", wire.Reader{}, []string{rtu("010f0013000a02cd01")}, "rtu, request, 1, write multiple coils, at 19 x10, bits 1 0 1 1 0 0 1 1 1 0"},
		{"write registers", wire.Reader{}, []string{rtu("011000010002040010000b")}, "rtu, request, 1, write multiple registers, at 1 x2, [16 11]"},
		{"answer to it", wire.Reader{}, []string{rtu("011000010002")}, "rtu, response, 1, write multiple registers, at 1 x2"},
		{"mask write", wire.Reader{}, []string{rtu("0116000400f20025")}, "rtu, either, 1, mask write register, at 4 x1, and 00F2 or 0025"},
		{"read and write", wire.Reader{}, []string{rtu("011700030006000e00030600ff00ff00ff")}, "rtu, request, 1, read/write multiple registers, at 3 x6, to 14, [255 255 255]"},
		{"bits that no request would be", wire.Reader{}, []string{rtu("010103cd6b05")}, "rtu, response, 1, read coils, bits 1 0 1 1 0 0 1 1 1 1 0 1 0 1 1 0 1 0 1 0 0 0 0 0"},
		{"the same, stated", wire.Reader{Direction: wire.Response}, []string{rtu("010103cd6b05")}, "rtu, response, 1, read coils, bits 1 0 1 1 0 0 1 1 1 1 0 1 0 1 1 0 1 0 1 0 0 0 0 0"},
		{"the same, behind its request", wire.Reader{}, []string{rtu("010100130013"), rtu("0101030004a5")}, "rtu, response, 1, read coils, at 19 x19, bits 0 0 0 0 0 0 0 0 0 0 1 0 0 0 0 0 1 0 1"},
		{"a request that may be an answer", wire.Reader{}, []string{rtu("010103000008")}, "rtu, request, 1, read coils, at 768 x8, ambiguous"},
		{"another function", wire.Reader{}, []string{rtu("012b0e0100")}, "rtu, unknown, 1, encapsulated interface transport, data 0e0100"},
		{"function without data that resembles nothing else", wire.Reader{}, []string{"0001 0000 0002 01 11"}, "tcp, unknown, 1, report server id, #1"},
		{"too many registers", wire.Reader{}, []string{"000100000006010300000100"}, "!out_of_range"},
		{"the same, tolerant", wire.Reader{Tolerant: true}, []string{"000100000006010300000100"}, "tcp, request, 1, read holding registers, #1, at 0 x256, quantity"},
		{"wrong length", wire.Reader{}, []string{"000100000009010300000002"}, "!bad_length"},
		{"the same, tolerant", wire.Reader{Tolerant: true}, []string{"000100000009010300000002"}, "tcp, request, 1, read holding registers, #1, at 0 x2, length"},
		{"another protocol", wire.Reader{Framing: wire.TCP}, []string{"000100010006010300000002"}, "!not_modbus"},
		{"cut short", wire.Reader{}, []string{"010300"}, "!truncated"},
		{"half an answer", wire.Reader{}, []string{rtu("01030412")}, "!bad_shape"},
		{"an answer, stated to be a request", wire.Reader{Direction: wire.Request}, []string{rtu("01030401020304")}, "!bad_shape"},
		{"an exception, stated to be a request", wire.Reader{Direction: wire.Request}, []string{rtu("018302")}, "!bad_shape"},
		{"function 0", wire.Reader{}, []string{rtu("01001234")}, "!out_of_range"},
		{"no frame", wire.Reader{}, []string{"hello"}, "!not_hexadecimal"},
		{"a very long line", wire.Reader{}, []string{strings.Repeat("00", 4096)}, "!too_long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got string
			for _, line := range tt.lines {
				if f, problem := tt.reader.Read(line); problem != nil {
					got = "!" + problem.Code
				} else {
					got = tell(f)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPairsInEveryOrder(t *testing.T) {
	for _, tt := range []struct{ data, order string }{{"41480000", "ABCD"}, {"00004148", "CDAB"}, {"48410000", "BADC"}, {"00004841", "DCBA"}} {
		f, problem := new(wire.Reader).Read(rtu("010304" + tt.data))
		if problem != nil {
			t.Fatal(problem)
		}
		p := f.Pairs[0]
		v := map[string]wire.Value{"ABCD": p.ABCD, "CDAB": p.CDAB, "BADC": p.BADC, "DCBA": p.DCBA}[tt.order]
		if v.Float == nil || *v.Float != 12.5 || v.Uint != 0x41480000 {
			t.Errorf("%s: %+v", tt.order, v)
		}
	}
	f, _ := new(wire.Reader).Read(rtu("0103067fc000000001"))
	if len(f.Pairs) != 1 || f.Pairs[0].ABCD.Float != nil {
		t.Errorf("no number and an odd register: %+v", f.Pairs)
	}
}

func FuzzRead(f *testing.F) {
	for _, line := range []string{"000100000006010300100002", rtu("01030401020304"), ":010300000002FA", "Rx:0001 0000 0003 01 83 02", rtu("011700030006000e00030600ff00ff00ff")} {
		f.Add(line, "", true)
		f.Add(line, "response", false)
	}
	f.Fuzz(func(t *testing.T, line, direction string, tolerant bool) {
		r := wire.Reader{Tolerant: tolerant, Direction: direction}
		for range 2 { // the second behind the first, as an answer would be
			frame, problem := r.Read(line)
			if (frame == nil) == (problem == nil) {
				t.Fatalf("%q: %+v and %v", line, frame, problem)
			}
			if problem != nil && (problem.ZH == "" || problem.EN == "") {
				t.Fatalf("%q: %+v", line, problem)
			}
			if _, err := json.Marshal(frame); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
		}
	})
}
