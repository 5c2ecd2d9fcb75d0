package devices_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
)

func TestAStepHasTheCureOfItsProblem(t *testing.T) {
	p := &devices.Problem{Kind: devices.ErrUnavailable, Code: "no_answer", ZH: "单元 5 未应答；请检查接线；再试", EN: "unit 5 did not answer; check wiring; try again"}
	want := devices.Step{
		Name: "answer", Took: devices.Duration(time.Second), ZH: "单元 5 未应答", EN: "unit 5 did not answer",
		CureZH: "请检查接线；再试", CureEN: "check wiring; try again",
	}
	if diff := cmp.Diff(want, devices.StepOf("answer", time.Second, p)); diff != "" {
		t.Error(diff)
	}
}
