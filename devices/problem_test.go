package devices_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"offsite/devices"
)

func TestProblemsAreFoundByKindAndCause(t *testing.T) {
	p := &devices.Problem{Kind: devices.ErrConflict, Code: "c", Field: "f", ZH: "中", EN: "en", Cause: io.EOF}
	all := fmt.Errorf("replace: %w", devices.Problems{devices.Invalid("g", "x", "文", "text"), p})
	for _, want := range []error{devices.ErrConflict, devices.ErrInvalid, io.EOF} {
		if !errors.Is(all, want) {
			t.Errorf("%v is not found", want)
		}
	}
	if errors.Is(all, devices.ErrNotFound) {
		t.Error("a kind is found that is not there")
	}
	if !errors.Is(&devices.Problem{}, devices.ErrInvalid) {
		t.Error("no kind means invalid")
	}
	if got := p.Error(); got != "f: en: EOF" {
		t.Errorf("%q", got)
	}
	if got := p.Bilingual(); got != "f: 中 / en" {
		t.Errorf("%q", got)
	}
}

func TestAllProblems(t *testing.T) {
	one := devices.Invalid("f", "c", "中", "en")
	for _, tt := range []struct {
		name string
		err  error
		want []string
	}{
		{"none", nil, nil},
		{"one, wrapped", fmt.Errorf("x: %w", one), []string{"c"}},
		{"several", devices.Problems{one, one}, []string{"c", "c"}},
		{"something else", io.EOF, []string{"internal"}},
		{"an empty list", devices.Problems(nil).Err(), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := devices.AllProblems(tt.err)
			if len(got) != len(tt.want) {
				t.Fatalf("%d problems, want %d", len(got), len(tt.want))
			}
			for i, p := range got {
				if p.Code != tt.want[i] {
					t.Errorf("%s, want %s", p.Code, tt.want[i])
				}
			}
		})
	}
}
