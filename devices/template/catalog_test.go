package template_test

import (
	"testing"

	"offsite/devices/template"
)

func TestShippedTemplatesOpen(t *testing.T) {
	c, err := template.Open(template.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(c.List()); n < 20 {
		t.Errorf("%d templates, want at least 20", n)
	}
}
