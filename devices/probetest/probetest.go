// Package probetest puts what a probe has found into few words, for tests.
package probetest

import "offsite/devices"

// Outline gives a word for each step: its name, and behind it how it went,
// "failed" or "skipped", where it did not succeed.
func Outline(steps []devices.Step) (list []string) {
	for _, s := range steps {
		word := " failed"
		if s.OK {
			word = ""
		}
		if s.Skipped {
			word = " skipped"
		}
		list = append(list, s.Name+word)
	}
	return list
}
