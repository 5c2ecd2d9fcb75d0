package decode

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"offsite/devices"
)

// dumps reads hexadecimal as engineers copy it from a serial monitor, a terminal
// or a capture:
//
//	23 23 30 31   2323 3031   23:23:30:31   0x23,0x23   \x23\x23   23233031
//	[12:00:01.250] Rx: 23 23 30 31           a time and a direction in front
//	00000000  23 23 30 31  …  |##01…|        hexdump -C, Wireshark
//	00000000: 2323 3031 …  ##01…             xxd
//	000000 23 23 30 31 …                     od -A x -t x1
//	        0x0000:  4500 0034 …             tcpdump -x and -X
//
// A line without an offset is a piece; lines with offsets are one from 0 on. The
// headers of IPv4, of Ethernet before it and of TCP or UDP behind it are cut off.
type dumps struct {
	in      *bufio.Scanner
	line    int
	asTyped bool // a line without an offset is given as a text, without time and direction

	open  []byte // what lines with offsets have given so far; nil outside of them
	torn  bool   // a line was missing: the others of this dump are passed over
	text  string // the first of these lines
	ready []piece
	ended bool
}

// piece is what belongs together, or why a line gives nothing.
type piece struct {
	raw     []byte
	text    string // the line, the first one where there are offsets
	problem *devices.Problem
}

// longestDump bounds what lines with offsets give together.
const longestDump = 1 << 20

func readDumps(in io.Reader) *dumps {
	d := &dumps{in: bufio.NewScanner(in)}
	d.in.Buffer(nil, maxLine)
	return d
}

// next gives the next piece, false at the end; err says why it ended.
func (d *dumps) next() (p piece, ok bool) {
	for len(d.ready) == 0 && !d.ended {
		if !d.in.Scan() {
			d.ended = true
			d.close()
			break
		}
		d.line++
		d.take(d.in.Text())
	}
	if len(d.ready) == 0 {
		return piece{}, false
	}
	p, d.ready = d.ready[0], d.ready[1:]
	return p, true
}

func (d *dumps) err() error { return d.in.Err() }

// take reads one line.
func (d *dumps) take(line string) {
	text := strings.TrimSpace(line)
	at, raw, ok := offsetLine(line)
	begun := d.open != nil || d.torn
	switch {
	case ok && (at == 0 || begun || withColon.MatchString(text)):
		d.put(at, raw, text)
		return
	case begun && betweenLines.MatchString(text):
		return
	}
	d.close()
	digits := withoutLabel(text)
	raw, err := hex.DecodeString(between.Replace(digits))
	switch {
	case text == "" || heading.MatchString(text):
	case d.asTyped:
		d.ready = append(d.ready, piece{text: digits})
	case err != nil || len(raw) == 0:
		d.refuse(text, "not_hexadecimal", "不是十六进制：每字节须为两位十六进制数，可用空格、逗号、冒号或 0x 分隔，前面可有偏移量",
			"is not hexadecimal: give two digits for each byte, with blanks, commas, colons or 0x between them, and an offset in front if you like")
	default:
		d.ready = append(d.ready, piece{raw: raw, text: text})
	}
}

// put adds a line with an offset to the dump that it belongs to.
func (d *dumps) put(at int, raw []byte, text string) {
	if at == 0 {
		d.close()
		d.open, d.text = []byte{}, text
	}
	if d.torn {
		return
	}
	if want := len(d.open); at != want || at > longestDump {
		d.open, d.torn = nil, true
		d.refuse(text, "bytes_missing", fmt.Sprintf("偏移量为 %#x，应为 %#x：此前缺行（hexdump 请加 -v），或有字节未复制", at, want),
			fmt.Sprintf("has offset %#x, it ought to be %#x: lines are missing before it (give hexdump -v), or bytes were not copied", at, want))
		return
	}
	d.open = append(d.open, raw...)
}

// close ends the dump that is open. A packet without data says nothing.
func (d *dumps) close() {
	if raw := withoutHeaders(d.open); len(raw) > 0 {
		d.ready = append(d.ready, piece{raw: raw, text: d.text})
	}
	d.open, d.torn = nil, false
}

func (d *dumps) refuse(text, code, zh, en string) {
	d.ready = append(d.ready, piece{text: text, problem: devices.Invalid("frame", code,
		fmt.Sprintf("第 %d 行", d.line)+zh, fmt.Sprintf("line %d ", d.line)+en)})
}

var (
	// heading is a line that captures and monitors print before the bytes.
	heading = regexp.MustCompile(`(?i)^\[?(\d{4}[-/]\d\d[-/]\d\d[ T])?\d\d:\d\d:\d\d([.,]\d{1,9})?(\]?\W*((rx|tx|recv|send|received|sent|收|发|接收|发送)\W*)?(hex)?\W*| .* > .*)$`)
	// stamp and direction may stand before the bytes.
	stamp     = regexp.MustCompile(`^\[?(\d{4}[-/]\d\d[-/]\d\d[ T])?\d\d:\d\d:\d\d([.,]\d{1,9})?(\]|\s)\s*`)
	direction = regexp.MustCompile(`(?i)^[^0-9a-z:]*(?:(?:rx|tx|recv|send|received|sent)[\s:>\])]|(?:收|发|接收|发送):?)(?:[^0-9a-z:]|hex)*`)
	between   = strings.NewReplacer(" ", "", "\t", "", ",", "", ";", "", "0x", "", "0X", "", `\x`, "", ":", "", "-", "")
	offset    = regexp.MustCompile(`^\s*(?:(?:0[xX])?([0-9a-fA-F]{4,8}):\s+|([0-9a-fA-F]{6}|[0-9a-fA-F]{4,8}\s)\s+)(\S.*)$`)
	group     = regexp.MustCompile(`^((?:[0-9a-fA-F]{2}){1,8})(\s*)`)
	withColon = regexp.MustCompile(`^[0-9a-fA-FxX]+:`)
	// betweenLines stands between or behind the lines of hexdump -C: what repeats, and the end.
	betweenLines = regexp.MustCompile(`^(\*|[0-9a-fA-F]{6,8})$`)
)

// withoutLabel cuts off the time and the direction that a monitor prints.
func withoutLabel(text string) string {
	text = text[len(stamp.FindString(text)):]
	return text[len(direction.FindString(text)):]
}

// offsetLine reads a line that begins with an offset, and leaves out the
// characters that stand behind the bytes.
func offsetLine(line string) (at int, raw []byte, ok bool) {
	m := offset.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
	if m == nil {
		return 0, nil, false
	}
	digits, rest := strings.TrimSpace(m[1]+m[2]), m[3]
	for groups := 1; ; groups++ {
		g := group.FindStringSubmatch(rest)
		if g == nil || (m[2] != "" && len(g[1]) != 2) {
			break
		}
		b, _ := hex.DecodeString(g[1]) // pairs of digits
		raw = append(raw, b...)
		rest = rest[len(g[0]):]
		middle := len(g[2]) == 2 && groups == 8 && len(raw) == 8 // of sixteen bytes
		if rest == "" || (len(g[2]) != 1 && !middle) {
			break
		}
	}
	n, err := strconv.ParseInt(digits, 16, 64)
	return int(n), raw, err == nil && len(raw) > 0
}

// withoutHeaders cuts the headers of a whole packet off, and what fills a short
// one up. What is no whole packet stays as it is.
func withoutHeaders(raw []byte) []byte {
	ip := raw
	if len(ip) > 14 && ip[12] == 8 && ip[13] == 0 { // Ethernet
		ip = ip[14:]
	}
	if len(ip) < 20 || ip[0]>>4 != 4 {
		return raw
	}
	head, total := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
	if head < 20 || total > len(ip) || total < head+8 || len(ip) > max(total, 46) {
		return raw
	}
	segment := ip[head:total]
	switch ip[9] {
	case 17: // UDP
		return segment[8:]
	case 6: // TCP
		if len(segment) >= 20 && int(segment[12]>>4)*4 <= len(segment) {
			return segment[int(segment[12]>>4)*4:]
		}
	}
	return raw
}

// startsAsDump looks at the first lines that r has, until they tell, and says
// whether they are hexadecimal beyond doubt. It takes nothing from r.
func startsAsDump(r *bufio.Reader) bool {
	for size := 1; ; {
		start, err := r.Peek(size)
		told, yes := dumpTold(start, err != nil)
		if told || err != nil {
			return yes
		}
		size = max(size+1, r.Buffered())
	}
}

// dumpTold says whether the first lines tell, and what they tell; whole means
// that there is no more to come.
func dumpTold(start []byte, whole bool) (told, dump bool) {
	const surely = 8 // bytes that are not written in digits by chance
	for text := range bytes.Lines(start) {
		line := strings.TrimSpace(string(text))
		complete := whole || bytes.HasSuffix(text, []byte("\n"))
		if strings.ContainsAny(line, "#{") && !heading.MatchString(line) && !offset.MatchString(line) {
			return true, false
		}
		if !complete {
			return false, false
		}
		if line == "" || heading.MatchString(line) {
			continue
		}
		if at, _, ok := offsetLine(string(text)); ok && at == 0 {
			return true, true
		}
		raw, err := hex.DecodeString(between.Replace(withoutLabel(line)))
		return true, err == nil && len(raw) >= surely
	}
	return whole, false
}
