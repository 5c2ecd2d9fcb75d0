package registry_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"offsite/devices"
	"offsite/devices/registry"
)

func TestFurtherSecretsAreSealedAndKept(t *testing.T) {
	dir := t.TempDir()
	db := openState(t, dir)
	r, err := registry.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	yard(t, r)
	create(t, r, &devices.Device{
		ID: "station", Site: "south", Name: "站点", Driver: devices.DriverBroker, Password: "canary-now",
		MQTT: &devices.MQTTSettings{NextPassword: "canary-next", Rate: 5},
	})
	edit := func(next devices.Secret) devices.Secret {
		t.Helper()
		again, err := registry.Open(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		thing, err := registry.Clone(again.Snapshot().Devices["station"])
		if err != nil {
			t.Fatal(err)
		}
		dev := thing.(*devices.Device)
		if dev.MQTT.Rate != 5 || dev.Password.Reveal() != "canary-now" {
			t.Errorf("stored %+v", dev)
		}
		was := dev.MQTT.NextPassword
		dev.MQTT.NextPassword = next
		if err := r.Update(t.Context(), func(e *registry.Edit) error { return e.Replace(dev, dev.Version) }); err != nil {
			t.Fatal(err)
		}
		return was
	}
	if got := edit("[redacted]"); got.Reveal() != "canary-next" {
		t.Errorf("next password %q", got.Reveal())
	}
	if got := edit(""); got.Reveal() != "canary-next" {
		t.Errorf("what was shown did not keep it: %q", got.Reveal())
	}
	if got := edit(""); got != "" {
		t.Errorf("the empty one did not end it: %q", got.Reveal())
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		if content, err := os.ReadFile(name); err == nil && bytes.Contains(content, []byte("canary-")) {
			t.Errorf("%s holds a secret", name)
		}
	}
}
