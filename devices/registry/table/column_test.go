package table

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/registry"
)

// TestEveryFieldHasItsCell fills every field of every kind and reads it again
// from its cell, so that a field which is added later cannot be lost in a table.
func TestEveryFieldHasItsCell(t *testing.T) {
	for _, kind := range registry.Kinds() {
		t.Run(string(kind), func(t *testing.T) {
			thing, again := registry.New(kind), registry.New(kind)
			full(t, reflect.ValueOf(thing).Elem())
			var secrets int
			for _, c := range columns(kind) {
				if c.secret {
					secrets++
					if text := c.cellText(thing); text != "" {
						t.Errorf("%s is shown as %q", c.name, text)
					}
					if p := c.set(reflect.ValueOf(again), "secret"); p != nil {
						t.Errorf("%s: %v", c.name, p)
					}
					continue
				}
				text := c.cellText(thing)
				if text == "" {
					t.Errorf("%s has an empty cell", c.name)
				}
				if p := c.set(reflect.ValueOf(again), refuse(defuse(text))); p != nil {
					t.Errorf("%s: %q: %v", c.name, text, p)
				}
			}
			if diff := cmp.Diff(thing, again); diff != "" {
				t.Error(diff)
			}
			hidden, err := json.Marshal(thing)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(hidden), "[redacted]"); n != secrets {
				t.Errorf("%d columns are secret, %d fields are", secrets, n)
			}
		})
	}
}

// full fills a struct with values that are easily damaged.
func full(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Interface().(type) {
	case devices.Meta:
		return
	case devices.Secret:
		v.SetString("secret")
		return
	case devices.Duration:
		v.SetInt(int64(90 * time.Second))
		return
	case time.Time:
		v.Set(reflect.ValueOf(time.Date(2026, 7, 1, 12, 0, 0, 123e6, time.UTC)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(`=a|b:c\d "e", ` + "\n" + `f`)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(-7)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	case reflect.Float32, reflect.Float64:
		v.SetFloat(-0.1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		full(t, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			full(t, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); name != "-" {
				full(t, v.Field(i))
			}
		}
	default:
		t.Fatalf("the test knows no %s", v.Type())
	}
}
