// Package said holds one text of each way that a text may take into a Problem,
// with what the test must say of it.
package said

import "fmt"

var ErrInvalid, ErrNotFound error

type Problem struct {
	Kind         error
	Code, ZH, EN string
}

type step struct{ Name, ZH, EN string }

// Invalid takes its texts as parameters.
func Invalid(code, zh, en string) *Problem {
	return &Problem{Kind: ErrInvalid, Code: code, ZH: zh, EN: en}
}

// unknown hands them on, in another order and as another kind.
func unknown(en, zh string, code string) *Problem {
	return &Problem{Kind: ErrNotFound, Code: code, ZH: zh, EN: en}
}

func again(code, zh, en string) *Problem { return Invalid(code, zh, en) }

type teller struct{ list []*Problem }

func (t *teller) fault(code, zh, en string) { t.list = append(t.list, again(code, zh, en)) }

type faulty interface{ fault(code, zh, en string) }

func through(f faulty) { f.fault("interface", "wrong", "好") } // want: no Chinese in "wrong"; no English in "好"

func check(bad func(code, zh, en string)) {
	bad("bad_closure", "wrong", "wrong")      // want: no Chinese in "wrong"
	bad("bad_closure_2", "不对", "不对")          // want: no English in "不对"
	bad("bad_closure_3", "不对", "it is wrong") // good
}

const wrongZH, wrongEN = "there", "那里" // a constant is told where it is used

var table = map[string][2]string{
	"good": {"好", "good"},
	"bad":  {"bad", "坏"}, // want: no Chinese in "bad"; no English in "坏"
}

var rows = []struct{ code, zh, en string }{
	{"row_good", "好", "good"},
	{"row_bad", "bad", "坏"}, // want: no Chinese in "bad"; no English in "坏"
}

func place(n int) (zh, en string) {
	if n > 1 {
		return "many", "多" // want: no Chinese in "many"; no English in "多"
	}
	zh, en = "少", "少" // want: no English in "少"
	return
}

func All(t *teller, n int, name string) []any {
	check(t.fault)
	check(func(code, zh, en string) { Invalid(code, zh, en) })
	zh, en := place(n)
	later := Invalid("later", "以后", "later")
	if n > 2 {
		later.ZH = "later on" // want: no Chinese in "later on"
		later.EN = "以后"       // want: no English in "以后"
	}
	local := "没有 " + name
	if n > 3 {
		local = "nothing there " + name // want: no Chinese in "nothing there "
	}
	tell := func(zh string) *Problem { return again("told", zh, "told") }
	t.fault("method", "method", "方法")  // want: no Chinese in "method"; no English in "方法"
	t.fault("Not A Word", "好", "good") // want: no word for programs in "Not A Word"
	t.fault("", "好", "")               // want: no word for programs in ""; no English in ""
	var list []any
	for _, r := range rows {
		list = append(list, again(r.code, r.zh, r.en))
	}
	for _, zh := range []string{"好", "good"} { // want: no Chinese in "good"
		list = append(list, again("range", zh, "good"))
	}
	return append(list,
		Invalid("direct", "直接", "direct"),
		Invalid("direct", "direct", "直接"),                                          // want: no Chinese in "direct"; no English in "直接"
		unknown("not there", "没有", "gone"),                                         //
		unknown("没有", "not there", "gone_2"),                                       // want: no Chinese in "not there"; no English in "没有"
		Invalid("constant", wrongZH, wrongEN),                                      // want: no Chinese in "there"; no English in "那里"
		Invalid("local", local, "nothing"),                                         //
		Invalid("tuple", zh, en),                                                   //
		Invalid("table", table[name][0], table[name][1]),                           //
		Invalid("format", fmt.Sprintf("%d left", n), fmt.Sprintf("还有 %d", n)),      // want: no Chinese in "%d left"; no English in "还有 %d"
		Invalid("value", fmt.Sprintf("还有 %s", "一些"), fmt.Sprintf("%s left", "一些")), // want: no English in "一些"
		Invalid(fmt.Sprintf("code_%d", n), "号码", "code"),                           //
		Invalid("gone", "没有", "gone"),                                              // want: gone is ErrInvalid, elsewhere ErrNotFound
		tell("told"),                                                               // want: no Chinese in "told"
		Problem{Code: "half", ZH: "一半"},                                            // want: no English in ""
		Problem{ZH: "没有代码", EN: "no code"},                                         // want: no word for programs in ""
		Problem{ErrInvalid, "row", "行", "行"},                                       // want: no English in "行"
		step{Name: "step", ZH: "step", EN: "step"},                                 // want: no Chinese in "step"
		step{Name: "half", EN: "half"},                                             // want: no Chinese in ""
		step{Name: "nothing"},
	)
}
