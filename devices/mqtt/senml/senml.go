// Package senml reads SenML packs in JSON (RFC 8428): arrays of records such as
//
//	[{"bn":"urn:dev:ow:10e2073a01080063:","bt":1276020076,"bu":"Cel"},
//	 {"n":"temp","v":23.5},{"n":"temp","t":60,"v":23.6},{"n":"hum","u":"%RH","v":40}]
//
// Base fields hold for their own record and those behind it. A record's name is
// base name and name together, its time base time plus time, its value base
// value plus value; a sum, if there is one, is the sample name + "#s". Times
// below 2^28 are seconds from the receipt on (4.5.3). Truth values are 1 and 0.
// Text and data have names but no number. Packs of a version above 10, fields
// that must be understood (their names end in an underscore) and names that
// RFC 8428 does not allow are refused. CBOR, XML and EXI are not read.
package senml

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"offsite/devices"
	"offsite/devices/mqtt/payload"
)

// version is the highest base version that is understood: RFC 8428, 4.4.
const version = 10

// relative is the bound below which a time is relative: RFC 8428, 4.5.3.
const relative = 1 << 28

// mostRecords bounds what one pack costs.
const mostRecords = 4096

// earliest is how far a relative time may lie back, in seconds: 285 years.
const earliest = 9e9

// latest is the year 10000, which no clock shows: Unix seconds.
const latest = 253402300800

// Format reads packs. It remembers nothing.
type Format struct{}

var _ payload.Format = Format{}

// New gives a Format, for [payload.Formats].
func New() payload.Format { return Format{} }

// Read gives the samples of a pack.
func (Format) Read(_ string, pack []byte, received time.Time) (payload.Sheet, *devices.Problem) {
	samples, p := Read(pack, received)
	return payload.Sheet{Samples: samples, Foreign: true}, p
}

// base is what the records so far have set.
type base struct {
	name, unit       string
	time, value, sum float64
}

// Read gives the samples of a pack, in its order. Received is what relative
// times count from; a time that is not stated stays zero.
func Read(pack []byte, received time.Time) ([]payload.Sample, *devices.Problem) {
	switch {
	case len(pack) > devices.MaxPayload:
		return nil, devices.Invalid("payload", "too_large", "SenML 报文超过 64 KiB；请分成几条发送", "the SenML pack has more than 64 KiB; send it in parts")
	case !utf8.Valid(pack) || !gjson.ValidBytes(pack):
		return nil, devices.Invalid("payload", "bad_json", "报文不是合法 JSON；SenML 须为 JSON 数组（RFC 8428）", "the message is not valid JSON; SenML is an array of records (RFC 8428)")
	}
	records := gjson.ParseBytes(pack)
	if !records.IsArray() {
		return nil, devices.Invalid("payload", "not_an_array", "SenML 须为 JSON 数组（RFC 8428）；请核对设备的报文格式", "SenML is an array of records (RFC 8428); check the device's message format")
	}
	var b base
	var samples []payload.Sample
	var problem *devices.Problem
	index := 0
	records.ForEach(func(_, record gjson.Result) bool {
		if index++; index > mostRecords {
			problem = devices.Invalid("payload", "too_many", "SenML 报文超过 4096 条记录；请分成几条发送", "the SenML pack has more than 4096 records; send it in parts")
			return false
		}
		if samples, problem = b.read(record, received, samples); problem != nil {
			problem.ZH = fmt.Sprintf("第 %d 条记录：%s", index, problem.ZH)
			problem.EN = fmt.Sprintf("record %d: %s", index, problem.EN)
		}
		return problem == nil
	})
	if problem != nil {
		return nil, problem // half a pack could mean something else
	}
	return samples, nil
}

// fields are those of one record.
type fields struct {
	name, unit       string
	time, value, sum float64
	hasValue, hasSum bool
	word             string // a text or data value
	truth            bool
}

func (b *base) read(record gjson.Result, received time.Time, into []payload.Sample) ([]payload.Sample, *devices.Problem) {
	if !record.IsObject() {
		return into, devices.Invalid("payload", "not_an_object", "应为对象；请核对设备的报文格式", "want an object; check the device's message format")
	}
	f := fields{}
	var problem *devices.Problem
	record.ForEach(func(key, v gjson.Result) bool {
		problem = b.field(&f, key.Str, v)
		return problem == nil
	})
	if problem != nil {
		return into, problem
	}
	name := b.name + f.name
	if !f.hasValue && !f.hasSum && f.word == "" {
		if f.name != "" {
			return into, devices.Invalid("v", "value_missing", "记录既无值也无累计值；请核对设备的报文", "the record has neither a value nor a sum; check the device's message")
		}
		return into, nil // it only sets the base
	}
	if !goodName(name) {
		return into, devices.Invalid("n", "bad_name", "名称须以字母或数字开头，仅含字母、数字与 - : . / _，全长至多 256 字节；请核对 bn 与 n", "a name begins with a letter or digit, holds letters, digits and - : . / _ and has at most 256 bytes; correct bn and n")
	}
	return b.samples(name, &f, received, into)
}

func (b *base) samples(name string, f *fields, received time.Time, into []payload.Sample) ([]payload.Sample, *devices.Problem) {
	at, problem := when(b.time+f.time, received)
	if problem != nil {
		return into, problem
	}
	unit := f.unit
	if unit == "" {
		unit = b.unit
	}
	s := payload.Sample{Name: name, At: at, Unit: unit}
	switch {
	case f.word != "":
		s.Fault = devices.Invalid(name, "not_a_number", "SenML 记录 "+name+" 的值是文本或数据，不是数字；请改绑数值记录", "the value of the SenML record "+name+" is text or data, not a number; bind a record that holds a number")
		into = append(into, s)
	case f.hasValue:
		s.Value = f.value
		if !f.truth {
			s.Value += b.value
		}
		into = append(into, s)
	}
	if f.hasSum {
		s.Name, s.Value, s.Fault = name+"#s", b.sum+f.sum, nil
		into = append(into, s)
	}
	return into, nil
}

// field takes in one field of a record.
func (b *base) field(f *fields, key string, v gjson.Result) *devices.Problem {
	switch key {
	case "bn":
		return text(key, v, &b.name)
	case "bu":
		return text(key, v, &b.unit)
	case "bt":
		return num(key, v, &b.time)
	case "bv":
		return num(key, v, &b.value)
	case "bs":
		return num(key, v, &b.sum)
	case "n":
		return text(key, v, &f.name)
	case "u":
		return text(key, v, &f.unit)
	case "t":
		return num(key, v, &f.time)
	case "v":
		f.hasValue = true
		return num(key, v, &f.value)
	case "s":
		f.hasSum = true
		return num(key, v, &f.sum)
	case "vb":
		if v.Type != gjson.True && v.Type != gjson.False {
			return devices.Invalid(key, "bad_field", "字段 vb 须为 true 或 false", "field vb is true or false")
		}
		f.hasValue, f.truth, f.value = true, true, v.Float()
		if v.Type == gjson.True {
			f.value = 1
		}
	case "vs", "vd":
		f.word = "text"
		var unused string
		return text(key, v, &unused)
	case "bver":
		var n float64
		if p := num(key, v, &n); p != nil {
			return p
		}
		if n > version {
			return devices.Invalid(key, "new_version", "SenML 版本高于 10，无法识别；请让设备发送版本 10", "the SenML version is above 10 and not understood; have the device send version 10")
		}
	default:
		if strings.HasSuffix(key, "_") {
			return devices.Invalid("payload", "must_understand", fmt.Sprintf("含有必须理解而本网关不认识的字段 %s", devices.Quoted(key)), fmt.Sprintf("the field %s must be understood and is not known here", devices.Quoted(key)))
		}
	}
	return nil
}

func text(key string, v gjson.Result, into *string) *devices.Problem {
	if v.Type != gjson.String {
		return devices.Invalid(key, "bad_field", "字段 "+key+" 须为文本", "field "+key+" is text")
	}
	*into = strings.Clone(v.Str) // the payload's memory is not ours
	return nil
}

func num(key string, v gjson.Result, into *float64) *devices.Problem {
	n, err := strconv.ParseFloat(v.Raw, 64)
	if v.Type != gjson.Number || err != nil || math.IsInf(n, 0) {
		return devices.Invalid(key, "bad_field", "字段 "+key+" 须为有限数", "field "+key+" is a finite number")
	}
	*into = n
	return nil
}

// when gives the time of a record: zero where it states none.
func when(seconds float64, received time.Time) (time.Time, *devices.Problem) {
	switch {
	case seconds == 0:
		return time.Time{}, nil
	case !(seconds > -earliest && seconds < latest):
		return time.Time{}, devices.Invalid("t", "bad_time", "时间超出范围；SenML 的时间为 Unix 秒，或小于 2^28 的相对秒数", "the time is out of range; SenML has Unix seconds, or seconds below 2^28 from now on")
	case seconds < relative:
		return received.Add(time.Duration(seconds * float64(time.Second))).UTC().Truncate(time.Millisecond), nil
	}
	return time.UnixMilli(int64(math.Round(seconds * 1000))).UTC(), nil
}

// goodName follows RFC 8428, 4.5.1.
func goodName(name string) bool {
	if name == "" || len(name) > 256 {
		return false
	}
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || strings.IndexByte("-:./_", c) < 0) {
			return false
		}
	}
	return true
}
