package state_test

import "testing"

// FuzzUnseal opens anything as a sealed secret: only what was sealed opens.
func FuzzUnseal(f *testing.F) {
	db := open(f, f.TempDir())
	sealed, err := db.Seal("row", "secret")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add(sealed[:29])
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := db.Unseal("row", text)
		if err == nil && len(text) > 0 && string(text) != string(sealed) {
			t.Errorf("%x opens as %q", text, s.Reveal())
		}
	})
}
