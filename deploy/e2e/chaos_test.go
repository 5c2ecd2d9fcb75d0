package e2e

import (
	"testing"

	"offsite/deploy/chaos/trial"
)

func TestKillsLoseNothing(t *testing.T) {
	t.Parallel()
	runTrial(t, trial.Config{Kills: 5})
}

func TestPowerCutsLoseNothing(t *testing.T) {
	t.Parallel()
	if err := trial.LoopMounts(t.TempDir()); err != nil {
		t.Skipf("loop mounts are not allowed here: %v", err)
	}
	runTrial(t, trial.Config{Cuts: 3})
}

func TestFailingSyncsLoseNothing(t *testing.T) {
	t.Parallel()
	if err := trial.Tracing(t.Context()); err != nil {
		t.Skipf("processes cannot be traced here: %v", err)
	}
	runTrial(t, trial.Config{Faults: 4})
}

func runTrial(t *testing.T, cfg trial.Config) {
	t.Helper()
	binary, err := programBinary()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Binary, cfg.Dir, cfg.Log = binary, t.TempDir(), t.Output()
	report, err := trial.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range report.Violations {
		t.Error(v)
	}
	if report.Readings == 0 || report.Alarms == 0 {
		t.Errorf("the trial proved nothing: %+v", report)
	}
	t.Logf("%d ends, %d readings, %d alarms", report.Ends, report.Readings, report.Alarms)
}
