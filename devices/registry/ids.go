package registry

import (
	"crypto/rand"
	"fmt"
	"strings"

	"offsite/devices"
)

// idAlphabet leaves out what is easily misread: 0 and o, 1, i and l. The 2 stands
// twice, so that five bits choose a letter.
const idAlphabet = "23456789abcdefghjkmnpqrstuvwxyz2"

// idField is where a thing keeps its id, nil for a point, whose id says where
// it belongs.
func idField(t devices.Thing) *string {
	switch t := t.(type) {
	case *devices.Entity:
		return &t.ID
	case *devices.Site:
		return &t.ID
	case *devices.Outlet:
		return &t.ID
	case *devices.Device:
		return &t.ID
	case *devices.Binding:
		return &t.ID
	case *devices.Camera:
		return &t.ID
	case *devices.Limit:
		return &t.ID
	default:
		return nil
	}
}

// newID makes an id from what the thing is about, such as "pm10-h-7k2q".
func newID(t devices.Thing) string {
	stem := string(t.Kind())
	switch t := t.(type) {
	case *devices.Binding:
		_, stem = devices.SplitPoint(t.Point)
	case *devices.Limit:
		_, stem = devices.SplitPoint(t.Point)
		if t.Point == "" {
			stem = t.OutletKind + "-" + t.Factor
		}
		stem += "-" + t.Level
	}
	stem = slug(stem)
	if len(stem) > 56 {
		stem = stem[:56]
	}
	return strings.Trim(stem+"-"+randomWord(4), "-")
}

// Unused gives an id that nothing of the kind has or had: the stem, else the stem
// with a number. What of the stem no id can hold is left out; a point's begins
// with its outlet and a dot.
func (e *Edit) Unused(kind devices.Kind, stem string) (string, error) {
	outlet, local, placed := strings.Cut(stem, ".")
	if !placed || kind != devices.KindPoint {
		outlet, local = "", stem
	} else {
		outlet += "."
	}
	local = Readable(local)
	if local == "" {
		local = string(kind)
	}
	for n := 1; ; n++ {
		id := outlet + local
		if n > 1 {
			id = fmt.Sprintf("%s-%d", id, n)
		}
		if used, err := e.used(kind, id); err != nil || !used {
			return id, err
		}
	}
}

// Readable makes words of an id out of text, 48 letters at most; "" where there is
// nothing that an id can hold.
func Readable(text string) string {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	id := strings.Join(words, "-")
	return strings.Trim(id[:min(len(id), 48)], "-")
}

func slug(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		default:
			return '-'
		}
	}, text)
}

func randomWord(n int) string {
	word := make([]byte, n)
	_, _ = rand.Read(word) // never fails (crypto/rand)
	for i, b := range word {
		word[i] = idAlphabet[b&31]
	}
	return string(word)
}
