package devices

import (
	"regexp"
	"slices"
)

// Kinds of HJ 212 data: real-time values, and the statistics of an interval.
const (
	KindRealtime = "realtime" // command 2011; state of equipment, 2021
	KindMinute   = "minute"   // 2051
	KindHour     = "hour"     // 2061
	KindDay      = "day"      // 2031; running time of equipment, 2041
)

// HJ212Settings are those of a data logger that connects to the gateway. Its
// password PW is the device's.
type HJ212Settings struct {
	MN       string   `json:"mn"`                 // identity of the logger, as it sends it
	Version  string   `json:"version,omitempty"`  // 2005, 2017 or 2025; empty: by each packet's Flag
	Tolerant bool     `json:"tolerant,omitempty"` // accept dialects; else only what the standard prints
	ST       []string `json:"st,omitempty"`       // kinds of system that it may send as, besides 91; empty: any
	SM4Key   Secret   `json:"sm4_key,omitempty"`  // 16 characters or 32 hexadecimal digits; empty: its data area is plain
}

// FactorPlace is a place in the packets of a data logger.
type FactorPlace struct {
	Code  string `json:"code"`            // factor as the logger sends it, or the code of 2017 in place of that of 2005
	Kind  string `json:"kind,omitempty"`  // realtime (the default), minute, hour, day
	Field string `json:"field,omitempty"` // Rtd (the default of realtime), Avg (of the others), Min, Max, Cou, ZsRtd, ZsMin, ZsAvg, ZsMax, …
}

// Full gives the place with its defaults filled in.
func (f FactorPlace) Full() FactorPlace {
	if f.Kind == "" {
		f.Kind = KindRealtime
	}
	if f.Field == "" {
		f.Field = "Avg"
		if f.Kind == KindRealtime {
			f.Field = "Rtd"
		}
	}
	return f
}

var (
	mnPattern     = regexp.MustCompile(`^[0-9A-Za-z_.-]{1,64}$`)
	stPattern     = regexp.MustCompile(`^[0-9]{2}$`)
	factorPattern = regexp.MustCompile(`^[^\s;,=&#-][^\s;,=&#]{0,31}$`)
	fieldPattern  = regexp.MustCompile(`^[0-9A-Za-z_]{1,16}$`)
	pwPattern     = regexp.MustCompile(`^[^\s;=&#]{1,64}$`)
	sm4Pattern    = regexp.MustCompile(`^(.{16}|[0-9A-Fa-f]{32})$`)
)

// notValues are the properties of a factor that hold no number.
var notValues = []string{"Flag", "EFlag", "SampleTime", "Info", "SN"}

func (s *HJ212Settings) check(ps *Problems) {
	if !mnPattern.MatchString(s.MN) {
		ps.Add(Invalid("hj212.mn", "bad_mn", "MN 须为 1 至 64 位字母、数字，与数采仪中的设备唯一标识一致", "the MN has 1 to 64 letters and digits, the same as in the logger"))
	}
	if s.Version != "" {
		ps.Add(checkOneOf("hj212.version", s.Version, "2005", "2017", "2025"))
	}
	if slices.ContainsFunc(s.ST, func(st string) bool { return !stPattern.MatchString(st) }) {
		ps.Add(Invalid("hj212.st", "bad_st", "系统编码 ST 须为 2 位数字，例如 32", "a kind of system ST has two digits, such as 32"))
	}
	if s.SM4Key != "" && !s.SM4Key.Kept() && !sm4Pattern.MatchString(s.SM4Key.Reveal()) {
		ps.Add(Invalid("hj212.sm4_key", "bad_key", "SM4 密钥须为 16 个字符或 32 位十六进制数", "an SM4 key has 16 characters or 32 hexadecimal digits"))
	}
}

func (d *Device) checkHJ212(ps *Problems) {
	if d.Endpoint != "" {
		ps.Add(Invalid("endpoint", "not_used", "数采仪主动连接网关，没有地址，请留空", "a data logger connects to the gateway and has no address; leave it empty"))
	}
	if d.HJ212 == nil {
		ps.Add(Invalid("hj212.mn", "missing", "请填写数采仪的设备唯一标识 MN", "give the logger's identity MN"))
	} else {
		d.HJ212.check(ps)
	}
	if d.Password != "" && !d.Password.Kept() && !pwPattern.MatchString(d.Password.Reveal()) {
		ps.Add(Invalid("password", "bad_pw", "HJ 212 密码 PW 最长 64 个字符，不得含空格和 ; = & #", "a password PW has at most 64 characters without spaces and ; = & #"))
	}
}

// Check tells every fault of the place, as those of a binding.
func (f *FactorPlace) Check() error {
	var ps Problems
	f.check(&ps)
	return ps.Err()
}

func (f *FactorPlace) check(ps *Problems) {
	if !factorPattern.MatchString(f.Code) {
		ps.Add(Invalid("factor.code", "bad_factor", "请填写数采仪发送的因子编码，例如 a34004，最长 32 个字符", "give the factor code that the logger sends, such as a34004, at most 32 characters"))
	}
	if f.Kind != "" {
		ps.Add(checkOneOf("factor.kind", f.Kind, KindRealtime, KindMinute, KindHour, KindDay))
	}
	switch {
	case f.Field == "":
	case !fieldPattern.MatchString(f.Field):
		ps.Add(Invalid("factor.field", "bad_field", "数据项须形如 Rtd、Avg、Min、Max、Cou、ZsAvg", "write the property like Rtd, Avg, Min, Max, Cou or ZsAvg"))
	case slices.Contains(notValues, f.Field):
		ps.Add(Invalid("factor.field", "value_missing", f.Field+" 不是数值：数据标记随读数保存，请选择 Rtd、Avg 等", f.Field+" holds no number: the mark is kept with each reading; choose Rtd, Avg and so on"))
	}
}
