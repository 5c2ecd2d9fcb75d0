package loggertest

import (
	"strconv"
	"time"

	"offsite/devices"
	"offsite/devices/hj212/wire"
)

// obey carries out what the host sends and gives the frames that answer it.
func (l *Logger) obey(p *wire.Packet) (frames []byte) {
	switch p.CN {
	case "9014", "9013":
		l.received(p.QN)
		return nil
	case "9011", "9012":
		return nil
	case "2012", "2022":
		return l.say(frames, p, "91", "9013", nil)
	}
	var content [][]wire.Item
	known, code := false, "1"
	switch {
	case p.PW != l.password():
		code = "3"
	case p.MN != l.cfg.MN:
		code = "4"
	default:
		if content, known = l.execute(p); !known {
			code = "8"
		}
	}
	frames = l.say(frames, p, "91", "9011", []wire.Item{{{Name: "QnRtn", Value: code}}})
	if code != "1" {
		return frames
	}
	done := "1"
	if content == nil && (p.CN == "2031" || p.CN == "2051" || p.CN == "2061") {
		done = "100"
	}
	for _, items := range content {
		frames = l.say(frames, p, l.cfg.ST, p.CN, items)
	}
	return l.say(frames, p, "91", "9012", []wire.Item{{{Name: "ExeRtn", Value: done}}})
}

// say adds an answer to p.
func (l *Logger) say(frames []byte, p *wire.Packet, st, cn string, items []wire.Item) []byte {
	a := wire.Packet{QN: p.QN, ST: st, CN: cn, PW: l.password(), MN: l.cfg.MN, Flag: l.flag(), CP: items}
	return a.Append(frames, l.cipher)
}

// execute gives the contents of the packets that answer a command, and whether
// the logger knows it.
func (l *Logger) execute(p *wire.Packet) (contents [][]wire.Item, known bool) {
	one := func(name, value string) [][]wire.Item { return [][]wire.Item{{{{Name: name, Value: value}}}} }
	switch p.CN {
	case "1011":
		return one("SystemTime", time.Now().In(devices.Beijing).Format(stampForm)), true
	case "1061":
		l.mu.Lock()
		defer l.mu.Unlock()
		return one("RtdInterval", strconv.Itoa(int(l.interval/time.Second))), true
	case "1062":
		if n, err := strconv.Atoi(p.Value("RtdInterval")); err == nil && n > 0 {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.interval = time.Duration(n) * time.Second
		}
		return nil, true
	case "1072":
		if pw := p.Value("NewPW"); pw != "" {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.pw = pw
		}
		return nil, true
	case "1063":
		return one("MinInterval", "1"), true
	case "2011":
		return [][]wire.Item{l.history(time.Now(), "Rtd")}, true
	case "2051":
		return l.span(p, time.Minute), true
	case "2061":
		return l.span(p, time.Hour), true
	case "2031":
		return l.span(p, 24*time.Hour), true
	case "3017":
		return one("CstartTime", "000000"), true
	case "3018":
		return one("Stime", "30"), true
	case "3019":
		return one("PolId-SN", "SIMULATED-1"), true
	case "3020":
		return one("i11001-Info", "//simulated logger//"), true
	case "1000", "1012", "1064", "2021", "2041", "3011", "3012", "3013", "3014", "3015", "3016", "3021":
		return nil, true
	}
	return nil, false
}

// span gives the history from BeginTime to EndTime, at most 100 intervals.
func (l *Logger) span(p *wire.Packet, interval time.Duration) (contents [][]wire.Item) {
	begin, err := time.ParseInLocation(stampForm, p.Value("BeginTime"), devices.Beijing)
	if err != nil {
		return nil
	}
	end, err := time.ParseInLocation(stampForm, p.Value("EndTime"), devices.Beijing)
	if err != nil {
		return nil
	}
	for at := begin; !at.After(end) && len(contents) < 100; at = at.Add(interval) {
		contents = append(contents, l.history(at, "Avg"))
	}
	return contents
}

func (l *Logger) history(at time.Time, field string) []wire.Item {
	items := []wire.Item{{{Name: "DataTime", Value: at.In(devices.Beijing).Format(stampForm)}}}
	for _, f := range l.cfg.Factors {
		v, m := f.At(at)
		items = append(items, wire.Item{{Name: f.Code + "-" + field, Value: number(v, f.Digits)}, {Name: f.Code + "-Flag", Value: m}})
	}
	return items
}
