package payload

import (
	"fmt"
	"slices"
	"time"

	"github.com/tidwall/gjson"

	"offsite/devices"
)

// mostReadings is how many readings one message may bring for all its points:
// a hundred points bound to a long array must not fill the memory.
const mostReadings = 4096

func (d document) isArray() bool { return d.json && d.text[0] == '[' }

// batch gathers the readings of one point from one message.
type batch struct {
	place    *place
	received time.Time
	before   int // readings of other points in front of its own
	readings []devices.Reading
	several  bool // there is more than one measurement: each must state its time
	index    int
	fault    *devices.Problem // the first
	faults   int
}

// readEach reads an array whose elements are measurements.
func (p *place) readEach(doc document, received time.Time, into []devices.Reading) ([]devices.Reading, *devices.Problem) {
	list := gjson.Result{Type: gjson.JSON, Raw: doc.text}
	if p.each != "" {
		if !doc.json {
			return into, devices.Invalid(p.each, "not_json",
				fmt.Sprintf("报文不是 JSON，无法按路径 %s 取数组；请删去绑定的数组路径或让设备发送 JSON", p.each),
				fmt.Sprintf("the message is not JSON, so path %s leads nowhere; clear the binding's array path or have the device send JSON", p.each))
		}
		if list = gjson.Get(doc.text, p.each); !list.IsArray() {
			return into, devices.Invalid(p.each, "not_an_array",
				fmt.Sprintf("路径 %s 处应为数组；请核对绑定的数组路径", p.each),
				fmt.Sprintf("want an array at %s; correct the binding's array path", p.each))
		}
	}
	b := batch{place: p, received: received, before: len(into), readings: into, several: holdsSeveral(list)}
	list.ForEach(func(_, element gjson.Result) bool {
		b.take(element)
		b.index++
		return b.fault == nil || b.fault.Code != "too_many"
	})
	return b.end()
}

// take reads one element.
func (b *batch) take(element gjson.Result) {
	doc := document{text: element.Raw, json: element.Type == gjson.JSON}
	if element.Type == gjson.String {
		doc.text = element.Str
	}
	raw, fault := b.place.value(doc)
	if fault == errColumn {
		fault = notNumber(b.place.path, gjson.Get(doc.text, b.place.path).Raw)
	}
	var at time.Time
	switch {
	case fault != nil:
	case b.place.timePath != "":
		at, fault = b.place.statedTime(doc)
	case doc.json:
		at, fault = b.place.timeBeside(doc)
	}
	b.add(raw, at, fault)
}

// add puts a measurement, or what is wrong with it, into the batch.
func (b *batch) add(raw float64, at time.Time, fault *devices.Problem) {
	if fault == nil && at.IsZero() && b.several {
		fault = devices.Invalid("time", "time_missing",
			"一批数据中的每一条都须带自己的时间；请填写绑定的时间路径或让设备发送时间",
			"in a batch each measurement states its own time; give the binding a time path or have the device send times")
	}
	if fault == nil && len(b.readings) >= mostReadings {
		fault = devices.Invalid("payload", "too_many",
			fmt.Sprintf("一条报文超过 %d 个读数，其余未读；请分成几条发送", mostReadings),
			fmt.Sprintf("the message brings more than %d readings and the rest was not read; send it in parts", mostReadings))
	}
	var r devices.Reading
	if fault == nil {
		r, fault = b.place.reading(raw, at, b.received)
	}
	if fault == nil {
		b.readings = append(b.readings, r)
		return
	}
	b.faults++
	if b.fault != nil {
		return
	}
	b.fault = fault
	if b.several {
		fault.ZH = fmt.Sprintf("第 %d 条：%s", b.index+1, fault.ZH)
		fault.EN = fmt.Sprintf("measurement %d: %s", b.index+1, fault.EN)
	}
}

// end gives the readings in order of time: instruments send the newest first as
// often as last.
func (b *batch) end() ([]devices.Reading, *devices.Problem) {
	slices.SortStableFunc(b.readings[b.before:], func(a, c devices.Reading) int { return a.At.Compare(c.At) })
	if b.faults > 1 {
		b.fault.ZH += fmt.Sprintf("（共 %d 条有误）", b.faults)
		b.fault.EN += fmt.Sprintf(" (%d measurements are faulty)", b.faults)
	}
	if b.index == 0 && b.fault == nil {
		return b.readings, nil // an empty batch says that there is nothing new
	}
	return b.readings, b.fault
}

// readColumn reads an array of values beside an array of times.
func (p *place) readColumn(doc document, received time.Time, into []devices.Reading) ([]devices.Reading, *devices.Problem) {
	values := gjson.Get(doc.text, p.path)
	var times []gjson.Result
	if p.timePath != "" {
		t := gjson.Get(doc.text, p.timePath)
		if t.IsArray() {
			times = t.Array()
		}
	}
	b := batch{place: p, received: received, before: len(into), readings: into, several: holdsSeveral(values)}
	if count := int(gjson.Get(values.Raw, "#").Int()); len(times) != count && b.several {
		return into, devices.Invalid(p.path, "columns_differ",
			fmt.Sprintf("路径 %s 处为 %d 个值的数组，时间路径处须为同样长度的数组，实有 %d 个；请核对绑定的时间路径", p.path, count, len(times)),
			fmt.Sprintf("there is an array of %d values at %s, so the time path must lead to as many times and leads to %d; correct the binding's time path", count, p.path, len(times)))
	}
	values.ForEach(func(_, element gjson.Result) bool {
		raw, fault := p.found(p.path, element)
		var at time.Time
		if fault == nil && b.index < len(times) {
			var ok bool
			if at, ok = p.readTime(times[b.index]); !ok {
				fault = p.timeFault(p.timePath, times[b.index])
			}
		}
		b.add(raw, at, fault)
		b.index++
		return b.fault == nil || b.fault.Code != "too_many"
	})
	return b.end()
}

// holdsSeveral says whether an array has more than one element.
func holdsSeveral(list gjson.Result) bool {
	n := 0
	list.ForEach(func(_, _ gjson.Result) bool { n++; return n < 2 })
	return n > 1
}
