package scene

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// picture lets ffmpeg draw one picture.
func picture(t *testing.T, filter string) View {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p.jpg")
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed: nothing to draw with")
	}
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "lavfi", "-i", filter, "-frames:v", "1", "-q:v", "3", path).CombinedOutput()
	if err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	v, err := ViewOf(data)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// yard is a scene with structure everywhere: a fractal, which no part of looks like
// another.
const yard = "mandelbrot=size=320x180:start_scale=0.02:start_x=-0.743:start_y=0.131:maxiter=100"

// TestFindings has a camera that knows its yard see each picture for five minutes.
func TestFindings(t *testing.T) {
	good := picture(t, yard)
	infrared := picture(t, yard+",hue=s=0,eq=contrast=0.7:brightness=0.1")
	tests := []struct {
		name   string
		filter string
		same   bool
		want   Finding
	}{
		{"as it was", yard, false, ""},
		{"noise of the sensor", yard + ",noise=alls=12:allf=t", false, ""},
		{"a lamp goes on", yard + ",eq=brightness=0.15", false, ""},
		{"dusk", yard + ",eq=brightness=-0.15:contrast=0.7", false, ""},
		{"the switch to infrared", yard + ",hue=s=0,eq=contrast=0.7:brightness=0.1", false, ""},
		{"infrared the other way round", yard + ",hue=s=0,negate", false, ""},
		{"a lorry stops before a quarter of it", yard + ",drawbox=x=20:y=90:w=100:h=75:color=gray:t=fill", false, ""},
		{"the wind shakes it a little", yard + ",crop=318:178:2:1,scale=320:180", false, ""},
		{"turned away", yard + ",hflip", false, Moved},
		{"turned by a third", "mandelbrot=size=480x180:start_scale=0.02:start_x=-0.743:start_y=0.131:maxiter=100,crop=320:180:160:0", false, Moved},
		{"tilted down", yard + ",vflip", false, Moved},
		{"another place", "testsrc2=size=320x180", false, Moved},
		{"black", "color=black:size=320x180", false, Black},
		{"black and frozen", "color=black:size=320x180", true, Black},
		{"black with noise", "color=black:size=320x180,noise=alls=10:allf=t", false, Black},
		{"a cloth before it", "color=0x604030:size=320x180,noise=alls=8:allf=t", false, Covered},
		{"spray on the lens", yard + ",gblur=sigma=30", false, Covered},
		{"blinded white", "color=white:size=320x180", false, Covered},
		{"frozen", yard, true, Frozen},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := NewWatch(Config{})
			at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			look := func(v View, same bool) Finding {
				at = at.Add(30 * time.Second)
				return w.Look(at, v, same)
			}
			for range 4 {
				if f := look(good, false); f != "" {
					t.Fatalf("%s while it learns", f)
				}
			}
			v := picture(t, tt.filter)
			var first int
			var got Finding
			for i := range 10 {
				if got = look(v, tt.same); got != "" && first == 0 {
					first = i
				}
			}
			mean, deviation := v.brightness()
			elsewhere, faint, tiles := v.edges().compare(good.edges())
			t.Logf("mean %.0f, deviation %.1f, colour %.1f, %d tiles: %.2f elsewhere, %.2f faint", mean, deviation, v.Colour, tiles, elsewhere, faint)
			if got != tt.want || (got != "" && first != 3) {
				t.Errorf("%q after %d looks, want %q", got, first, tt.want)
			}
			for range 2 {
				got = look(good, false)
			}
			if got != "" {
				t.Errorf("%q after it was well again", got)
			}
		})
	}
	t.Run("moved at night, by the reference of the night", func(t *testing.T) {
		w := NewWatch(Config{})
		teach(t, w, good, infrared)
		turned := picture(t, yard+",hflip,hue=s=0,eq=contrast=0.7:brightness=0.1")
		var got Finding
		for i := range 5 {
			got = w.Look(time.Unix(int64(30*i), 0), turned, false)
		}
		if got != Moved {
			t.Errorf("%q", got)
		}
	})
}

// teach makes views the references of their modes.
func teach(t testing.TB, w *Watch, views ...View) {
	t.Helper()
	for _, v := range views {
		if err := w.Restore(Home, v.Night(), v.Reference()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAFindingOutlivesTheWatch has the gateway restart while a camera is turned away.
func TestAFindingOutlivesTheWatch(t *testing.T) {
	good, turned := picture(t, yard), picture(t, yard+",hflip")
	dark := picture(t, yard+",hflip,hue=s=0,eq=contrast=0.7:brightness=0.1")
	learnt := NewWatch(Config{})
	for i := range 5 {
		learnt.Look(time.Unix(int64(30*i), 0), good, false)
	}
	tests := []struct {
		name      string
		reference bool
		resume    Finding
		sees      View
		want      Finding // at every look
		end       Finding // at the last
	}{
		{"it is turned still", true, Moved, turned, Moved, Moved},
		{"it was turned back", true, Moved, good, "", ""},
		{"night has fallen, of which nothing is known", true, Moved, dark, Moved, Moved},
		{"no reference was kept", false, Moved, turned, Moved, Moved},
		{"it was turned while the gateway was down", true, "", turned, "", Moved},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := NewWatch(Config{})
			if tt.reference {
				if err := w.Restore(Home, false, learnt.Reference(Home, false)); err != nil {
					t.Fatal(err)
				}
			}
			w.Resume(tt.resume)
			var got Finding
			for i := range 10 {
				got = w.Look(time.Unix(int64(30*i), 0), tt.sees, false)
				if tt.want != "" && got != tt.want {
					t.Fatalf("%q at look %d", got, i)
				}
			}
			if got != tt.end {
				t.Errorf("%q, want %q", got, tt.end)
			}
		})
	}
}

func TestReferenceOfNothing(t *testing.T) {
	flat := picture(t, "color=0x604030:size=320x180")
	if flat.Reference() != nil {
		t.Error("a cloth is no reference")
	}
	if NewWatch(Config{}).Reference(Home, true) != nil {
		t.Error("nothing was learnt")
	}
	if err := NewWatch(Config{}).Restore(Home, false, []byte("half")); err == nil {
		t.Error("half a reference was taken")
	}
}

// TestShortTroubleIsNone covers the lens for a minute.
func TestShortTroubleIsNone(t *testing.T) {
	good, covered := picture(t, yard), picture(t, "color=0x604030:size=320x180")
	w := NewWatch(Config{})
	for i := range 40 {
		v := good
		if i%6 > 3 {
			v = covered
		}
		if f := w.Look(time.Unix(int64(30*i), 0), v, false); f != "" {
			t.Fatalf("%s at look %d", f, i)
		}
	}
}

func TestViewOfNonsense(t *testing.T) {
	for _, data := range [][]byte{nil, []byte("no picture"), {0xff, 0xd8, 0xff, 0xd9}} {
		if _, err := ViewOf(data); err == nil {
			t.Errorf("%q: no error", data)
		}
	}
}

func BenchmarkLook(b *testing.B) {
	var v View
	for i := range v.Luma {
		v.Luma[i] = byte(i * i)
	}
	w := NewWatch(Config{})
	teach(b, w, v)
	for i := range b.N {
		w.Look(time.Unix(int64(i), 0), v, false)
	}
}
