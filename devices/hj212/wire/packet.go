package wire

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"offsite/devices"
)

// Versions of the protocol as the bits 2 to 7 of Flag tell them.
const (
	Version2005    = "2005"
	Version2017    = "2017"
	Version2025    = "2025"
	VersionSurface = "surface-water" // the older dialect of surface water stations, which has the bits of 2025
)

// Packet is what one frame says.
type Packet struct {
	QN      string // when the exchange was begun, yyyyMMddHHmmssSSS; some loggers leave it out
	ST      string // kind of system: 21 surface water, 22 air, 31 flue gas, 32 waste water, 39 dust, 91 the protocol itself
	CN      string // command
	PW      string // password
	MN      string // identity of the logger
	Flag    int    // -1 where there is none
	PNUM    int    // packets that this exchange takes, 0 where it takes one
	PNO     int    // number of this one, from 1
	Resent  bool   // RF=1 of 2025: the logger sends what it had kept
	CP      []Item // data area
	Version string // 2005, 2017, 2025 or surface-water

	CRC       uint16
	Length    int      // as the frame stated it
	Encrypted bool     // the data area was
	Dialects  []string // how the frame departs from the standard, in tolerant mode
}

// Item is one item of the data area: properties that belong together.
type Item []Field

// Field is one property, such as a34004-Rtd = 35.2.
type Field struct{ Name, Value string }

// Wanted says that the sender waits for an answer.
func (p *Packet) Wanted() bool { return p.Flag > 0 && p.Flag&1 == 1 }

// Value gives the first property of that name in the data area, "" if there is none.
func (p *Packet) Value(name string) string {
	for _, item := range p.CP {
		for _, f := range item {
			if f.Name == name {
				return f.Value
			}
		}
	}
	return ""
}

// headerOrder is the standards' order of fields.
var headerOrder = []string{"QN", "ST", "CN", "PW", "MN", "Flag", "PNUM", "PNO", "RF"}

// parse reads a segment. It gives a packet as far as it can be read and every
// fault of it; in tolerant mode, dialects are no faults.
func parse(segment []byte, tolerant bool) (*Packet, devices.Problems) {
	p := &Packet{Flag: -1}
	r := reader{p: p, tolerant: tolerant}
	head, body, found := bytes.Cut(segment, []byte("CP=&&"))
	if !found {
		r.fault("cp", "missing", "缺少数据区 CP=&&…&&", "there is no data area CP=&&…&&")
		return p, r.faults
	}
	r.header(string(head))
	r.area(string(body[:max(0, len(body)-2)]))
	p.Version = version(p.Flag, p.ST, "")
	return p, r.faults
}

// version tells the version of the protocol; profile is what the device's
// registration says, or empty. The bits of 2025 are also those of the older
// surface water dialect.
func version(flag int, st, profile string) string {
	switch {
	case flag < 0 || flag>>2 == 0:
		return Version2005
	case flag>>2 == 1:
		return Version2017
	case st == "21" && profile != Version2025:
		return VersionSurface
	default:
		return Version2025
	}
}

// reader collects the faults of a segment.
type reader struct {
	p        *Packet
	tolerant bool
	faults   devices.Problems
}

func (r *reader) fault(field, code, zh, en string) {
	r.faults.Add(devices.Invalid(field, code, zh, en))
}

// dialect is a fault in strict mode only.
func (r *reader) dialect(name, field, zh, en string) {
	if r.tolerant {
		r.p.Dialects = append(r.p.Dialects, name)
		return
	}
	r.fault(field, name, zh, en)
}

func (r *reader) header(head string) {
	last, seen := -1, map[string]bool{}
	for _, part := range strings.Split(strings.TrimSuffix(head, ";"), ";") {
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			r.dialect("bad_field", "segment", "字段须形如 名=值："+Quote(part), "a field is name=value, not "+Quote(part))
			continue
		}
		place := order(name)
		switch {
		case seen[name]:
			r.fault(strings.ToLower(name), "named_twice", "字段 "+Quote(name)+" 出现两次", "field "+Quote(name)+" stands there twice")
			continue
		case place < 0:
			r.dialect("unknown_field", "segment", "未知字段 "+Quote(name), "unknown field "+Quote(name))
			continue
		case place < last && name != "RF": // which stands where its logger likes
			r.dialect("field_order", strings.ToLower(name), "字段顺序须为 QN、ST、CN、PW、MN、Flag、PNUM、PNO", "fields come as QN, ST, CN, PW, MN, Flag, PNUM, PNO")
		}
		if seen[name] = true; name != "RF" {
			last = max(last, place)
		}
		r.field(name, value)
	}
	r.checkHeader(seen)
}

func order(name string) int {
	for i, n := range headerOrder {
		if n == name {
			return i
		}
	}
	return -1
}

func (r *reader) field(name, value string) {
	p := r.p
	switch name {
	case "QN":
		p.QN = value
	case "ST":
		p.ST = value
	case "CN":
		p.CN = value
	case "PW":
		p.PW = value
	case "MN":
		p.MN = value
	case "RF":
		p.Resent = value == "1"
	case "Flag":
		p.Flag = r.number("flag", value, 0, 255)
	case "PNUM":
		p.PNUM = r.number("pnum", value, 1, 9999)
	case "PNO":
		p.PNO = r.number("pno", value, 1, 9999)
	}
}

func (r *reader) number(field, value string, low, high int) int {
	n, err := strconv.Atoi(value)
	if err != nil || n < low || n > high {
		r.fault(field, "out_of_range", fmt.Sprintf("须为 %d 至 %d 的整数，不能是 %s", low, high, Quote(value)), fmt.Sprintf("must be a whole number of %d to %d, not %s", low, high, Quote(value)))
		return low
	}
	return n
}

func (r *reader) checkHeader(seen map[string]bool) {
	p := r.p
	if seen["QN"] && !stamp(p.QN, true) {
		r.dialect("bad_qn", "qn", "QN 须为 17 位时间 yyyyMMddHHmmssSSS", "QN is a time of 17 digits, yyyyMMddHHmmssSSS")
	}
	if len(p.QN) > 32 {
		r.fault("qn", "too_long", "QN 过长", "QN is too long")
	}
	if !digits(p.ST, 2) {
		r.fault("st", "bad_st", "ST 须为 2 位数字", "ST has two digits")
	}
	if !digits(p.CN, 4) {
		r.fault("cn", "bad_cn", "CN 须为 4 位数字", "CN has four digits")
	}
	if p.PW == "" {
		r.dialect("no_pw", "pw", "缺少密码 PW", "there is no password PW")
	}
	if p.MN == "" || len(p.MN) > 64 {
		r.fault("mn", "bad_mn", "缺少设备唯一标识 MN，或其超过 64 个字符", "the identity MN is missing or has more than 64 characters")
	}
	packets := p.Flag > 0 && p.Flag&2 != 0
	switch {
	case packets != (seen["PNUM"] && seen["PNO"]) || seen["PNUM"] != seen["PNO"]:
		r.dialect("packet_numbers", "pnum", "PNUM、PNO 须与 Flag 的拆分包标志一致", "PNUM and PNO stand there exactly when Flag says so")
	case packets && p.PNO > p.PNUM:
		r.fault("pno", "out_of_range", "包号 PNO 大于总包数 PNUM", "PNO exceeds PNUM")
	}
}

func (r *reader) area(body string) {
	if body == "" {
		return
	}
	if rest, ok := strings.CutSuffix(body, ";"); ok {
		r.dialect("trailing_semicolon", "cp", "数据区末尾不得有分号", "no semicolon stands before the closing &&")
		body = rest
	}
	for body != "" {
		var item Item
		for more := true; more; {
			var part string
			part, body, more = cutProperty(body)
			r.property(&item, part)
		}
		if len(item) > 0 {
			r.p.CP = append(r.p.CP, item)
		}
	}
	if r.p.Value("RF") == "1" {
		r.p.Resent = true
	}
}

// cutProperty takes the property at the start of body, which ends at the next
// "," (more of the item follow) or ";". A value between // and // is text and
// may hold either.
func cutProperty(body string) (part, rest string, more bool) {
	end, from := strings.IndexAny(body, ",;"), 0
	if open := strings.Index(body, "=//"); open >= 0 && (end < 0 || open < end) {
		open += len("=//")
		if shut := strings.Index(body[open:], "//"); shut >= 0 {
			from = open + shut + len("//")
		}
	}
	end = strings.IndexAny(body[from:], ",;")
	if end < 0 {
		return body, "", false
	}
	end += from
	return body[:end], body[end+1:], body[end] == ','
}

func (r *reader) property(item *Item, part string) {
	name, value, ok := strings.Cut(part, "=")
	switch {
	case part == "":
		r.dialect("empty_item", "cp", "数据区含空项", "the data area holds an empty item")
		return
	case !ok || name == "":
		r.dialect("bad_field", "cp", "数据项须形如 名=值："+Quote(part), "a property is name=value, not "+Quote(part))
		return
	}
	if name == "DataTime" {
		r.dataTime(value)
	}
	*item = append(*item, Field{name, value})
}

func (r *reader) dataTime(value string) {
	switch {
	case value < "2000": // a clock that was never set
		r.fault("datatime", "bad_time", "DataTime "+Quote(value)+" 早于 2000 年，数采仪的时钟未校准", "DataTime "+Quote(value)+" lies before 2000: the logger's clock was never set")
	case stamp(value, false) && len(value) == 14:
	case stamp(value, true):
		r.dialect("datatime_ms", "datatime", "DataTime 须为 14 位，不含毫秒", "DataTime has 14 digits, without milliseconds")
	default:
		r.fault("datatime", "bad_time", "DataTime 须为 yyyyMMddHHmmss，不能是 "+Quote(value), "DataTime is yyyyMMddHHmmss, not "+Quote(value))
	}
}

// stamp says that text is a time of 14 digits or, with milliseconds, 17.
func stamp(text string, ms bool) bool {
	if len(text) != 14 && (!ms || len(text) != 17) {
		return false
	}
	_, ok := ParseTime(text)
	return ok
}

// ParseTime reads yyyyMMddHHmmss[SSS] of Beijing time.
func ParseTime(text string) (time.Time, bool) {
	if len(text) != 14 && len(text) != 17 || !digits(text, len(text)) {
		return time.Time{}, false
	}
	at, err := time.ParseInLocation("20060102150405", text[:14], devices.Beijing)
	if err != nil {
		return time.Time{}, false
	}
	if len(text) == 17 {
		ms, _ := strconv.Atoi(text[14:]) // digits
		at = at.Add(time.Duration(ms) * time.Millisecond)
	}
	return at, true
}

// FormatTime writes a time as DataTime, BeginTime and the like have it.
func FormatTime(t time.Time) string { return t.In(devices.Beijing).Format("20060102150405") }

// FormatQN writes a time as QN has it.
func FormatQN(t time.Time) string {
	t = t.In(devices.Beijing)
	return t.Format("20060102150405") + fmt.Sprintf("%03d", t.Nanosecond()/1e6)
}

func digits(text string, n int) bool {
	if len(text) != n {
		return false
	}
	for i := range len(text) {
		if !digit(text[i]) {
			return false
		}
	}
	return true
}

// Quote shows a short piece of what a device sent.
func Quote(text string) string {
	if len(text) > 32 {
		text = text[:32] + "…"
	}
	return strconv.Quote(strings.ToValidUTF8(text, "?"))
}

// Append writes the packet as a frame at the end of dst, encrypted where c is
// not nil and the area holds a whole block. It writes what is set: the fields
// QN, Flag, PNUM and PNO where they have a value.
func (p *Packet) Append(dst []byte, c *Cipher) []byte {
	var s strings.Builder
	add := func(name, value string) {
		if value != "" {
			s.WriteString(name + "=" + value + ";")
		}
	}
	add("QN", p.QN)
	add("ST", p.ST)
	add("CN", p.CN)
	add("PW", p.PW)
	add("MN", p.MN)
	if p.Flag >= 0 {
		add("Flag", strconv.Itoa(p.Flag))
	}
	if p.Resent {
		add("RF", "1")
	}
	if p.PNUM > 0 {
		add("PNUM", strconv.Itoa(p.PNUM))
		add("PNO", strconv.Itoa(p.PNO))
	}
	s.WriteString("CP=&&")
	for i, item := range p.CP {
		for j, f := range item {
			if j > 0 {
				s.WriteByte(',')
			} else if i > 0 {
				s.WriteByte(';')
			}
			s.WriteString(f.Name + "=" + f.Value)
		}
	}
	s.WriteString("&&")
	segment := []byte(s.String())
	crc := CRC(segment)
	if c != nil {
		c.seal(segment)
	}
	return AppendFrame(dst, segment, crc)
}
