package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

var sample = filepath.Join("..", "..", "deploy", "offsite.yaml")

func TestTheSampleIsTheDefaults(t *testing.T) {
	cfg, err := load(sample)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(defaults(), cfg); diff != "" {
		t.Errorf("deploy/offsite.yaml differs from the defaults (-default +sample):\n%s", diff)
	}
}

func TestTheSampleNamesEveryKey(t *testing.T) {
	text, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	var shown map[string]any
	if err := yaml.Unmarshal(text, &shown); err != nil {
		t.Fatal(err)
	}
	for _, key := range keysOf(reflect.TypeFor[Config](), "") {
		var at any = shown
		for part := range strings.SplitSeq(key, ".") {
			section, _ := at.(map[string]any)
			if at = section[part]; at == nil {
				t.Errorf("deploy/offsite.yaml does not show %s", key)
				break
			}
		}
	}
}

// keysOf gives the path of every key that holds a value.
func keysOf(t reflect.Type, above string) []string {
	var keys []string
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case name == "":
		case f.Type.Kind() == reflect.Struct:
			keys = append(keys, keysOf(f.Type, above+name+".")...)
		default:
			keys = append(keys, above+name)
		}
	}
	return keys
}
