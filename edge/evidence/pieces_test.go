package evidence

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/clip"
)

// sees gives the picture of a moment, taken that long after it.
func sees(late time.Duration) func(string, time.Time) (streams.Still, error) {
	return func(camera string, at time.Time) (streams.Still, error) {
		s := still(fmt.Sprint(camera, at.UnixMilli()), at.Add(late))
		s.Taken, s.Source, s.Clock = at.Add(late+3*time.Second), streams.CameraTime, streams.Clock{Known: true, Offset: 3 * time.Second}
		return s, nil
	}
}

// films gives clips that last to their end, or until the gateway stops.
func films(begun *[]string) func(context.Context, string, time.Time, time.Time, io.WriteSeeker, clip.Config) (clip.Clip, error) {
	var mu sync.Mutex // each clip has a goroutine of its own
	return func(ctx context.Context, camera string, from, to time.Time, out io.WriteSeeker, cfg clip.Config) (clip.Clip, error) {
		mu.Lock()
		*begun = append(*begun, fmt.Sprintf("%s %v", camera, to.Sub(from)))
		mu.Unlock()
		wait := time.NewTimer(time.Until(to))
		defer wait.Stop()
		made := clip.Clip{
			First: &streams.Frame{Params: &streams.Parameters{Codec: streams.H264, Width: 640, Height: 360}}, Start: from, End: to, Frames: 500,
		}
		select {
		case <-wait.C:
		case <-ctx.Done():
			made.Broken, made.End = true, time.Now()
		}
		text := "\x00\x00\x00\x20ftypiso6" + camera
		if cfg.Caption != nil {
			text += cfg.Caption(from)
		}
		_, err := io.WriteString(out, text)
		return made, err
	}
}

// outline is a result in few words, clips and their lacks too.
func outline(r Result) string {
	list := []string{r.State}
	if r.Complete {
		list = append(list, "complete")
	}
	for _, it := range r.Items {
		word := fmt.Sprint(it.Kind, " ", it.Moment, " ", it.State)
		if it.State == Attached {
			word += fmt.Sprint(" ", it.Distance)
		}
		if it.Problem != nil {
			word += " " + it.Problem.Code
		}
		list = append(list, word)
	}
	return strings.Join(list, "; ")
}

func (b *bench) outlines() []string {
	var list []string
	for i, r := range b.told {
		list = append(list, fmt.Sprint(b.at[i], " ", outline(r)))
	}
	return list
}

func TestStillsAndAClipAroundTheBreach(t *testing.T) {
	tests := []struct {
		name  string
		see   func(*[]string) lenses
		late  time.Duration // from the breach to when the gateway learns of it
		want  []string
		clips []string
	}{
		{
			"a healthy camera", func(clips *[]string) lenses { return lenses{moment: sees(40 * time.Millisecond), clip: films(clips)} }, time.Second,
			[]string{
				"0s attached; still -5s attached -4.96s; still 0s attached 40ms; still 5s pending; clip 0s pending",
				"9s attached; complete; still -5s attached -4.96s; still 0s attached 40ms; still 5s attached 5.04s; clip 0s attached -10s",
			},
			[]string{"a 20s"},
		},
		{
			"nothing is held of before", func(clips *[]string) lenses {
				return lenses{
					moment: func(camera string, at time.Time) (streams.Still, error) {
						if time.Since(at) > time.Second {
							return streams.Still{}, silent
						}
						return sees(0)(camera, at)
					},
					take: func(context.Context, string) (streams.Still, error) { return still("now", time.Now()), nil },
					clip: films(clips),
				}
			}, 3 * time.Second,
			[]string{
				"0s attached; still -5s none no_picture_silent; still 0s attached 3s; still 5s pending; clip 0s pending",
				"7s attached; complete; still -5s none no_picture_silent; still 0s attached 3s; still 5s attached 5s; clip 0s attached -10s",
			},
			[]string{"a 20s"},
		},
		{
			"a camera whose address is edited meanwhile", func(*[]string) lenses {
				return lenses{moment: sees(0), clip: func(_ context.Context, _ string, from, _ time.Time, out io.WriteSeeker, _ clip.Config) (clip.Clip, error) {
					time.Sleep(time.Second) // the stills of up to now are settled, by the bubble's clock
					_, err := io.WriteString(out, "\x00\x00\x00\x20ftypiso6")
					return clip.Clip{First: &streams.Frame{Params: &streams.Parameters{}}, Start: from, End: from.Add(9 * time.Second), Another: true}, err
				}}
			}, time.Second,
			[]string{
				"0s attached; still -5s attached -5s; still 0s attached 0s; still 5s pending; clip 0s pending",
				"4.2s attached; complete; still -5s attached -5s; still 0s attached 0s; still 5s attached 5s; clip 0s attached -10s clip_replaced",
			},
			nil,
		},
		{
			"a camera whose still is that of its key frame", func(clips *[]string) lenses {
				return lenses{moment: func(camera string, at time.Time) (streams.Still, error) {
					s, err := sees(-900*time.Millisecond)(camera, at)
					s.Lacks = &devices.Problem{Code: "still_key_frame"}
					return s, err
				}, clip: films(clips)}
			}, time.Second,
			[]string{
				"0s attached; still -5s attached -5.9s still_key_frame; still 0s attached -900ms still_key_frame; still 5s pending; clip 0s pending",
				"9s attached; complete; still -5s attached -5.9s still_key_frame; still 0s attached -900ms still_key_frame; still 5s attached 4.1s still_key_frame; clip 0s attached -10s",
			},
			[]string{"a 20s"},
		},
		{
			"a dead camera", func(*[]string) lenses {
				return lenses{take: func(context.Context, string) (streams.Still, error) { return streams.Still{}, silent }}
			}, 0,
			[]string{"15s none; complete; still -5s none no_picture_silent; still 0s none no_picture_silent; still 5s none no_picture_silent; clip 0s none no_clip_silent"},
			nil,
		},
		{
			"told long after the breach", func(clips *[]string) lenses { return lenses{moment: sees(0), clip: films(clips)} }, time.Minute,
			[]string{
				"0s attached; still -5s attached 55s; still 0s attached 1m0s; still 5s pending; clip 0s pending",
				"10s attached; complete; still -5s attached 55s; still 0s attached 1m0s; still 5s attached 1m5s; clip 0s attached 50s",
			},
			[]string{"a 20s"},
		},
		{
			"a reading from the future", func(clips *[]string) lenses { return lenses{moment: sees(0), clip: films(clips)} }, -30 * time.Second,
			[]string{
				"0s attached; still -5s attached -35s; still 0s attached -30s; still 5s pending; clip 0s pending",
				"10s attached; complete; still -5s attached -35s; still 0s attached -30s; still 5s attached -25s; clip 0s attached -40s",
			},
			[]string{"a 20s"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			with(t, Config{}, func(t *testing.T, b *bench) {
				b.expect("al-1", time.Now().Add(-tt.late), "a")
				var clips []string
				b.see(time.Minute, tt.see(&clips))
				if diff := cmp.Diff(tt.want, b.outlines()); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(tt.clips, clips); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestEventsOfOneMomentShareWhatIsTaken(t *testing.T) {
	with(t, Config{}, func(t *testing.T, b *bench) {
		now := time.Now()
		b.expect("al-1", now, "a")
		b.expect("al-2", now, "a")
		b.expect("al-3", now.Add(-1500*time.Millisecond), "a")
		b.expect("al-4", now.Add(-5*time.Second), "a")
		var clips []string
		asked := 0
		b.see(time.Minute, lenses{clip: films(&clips), moment: func(camera string, at time.Time) (streams.Still, error) {
			asked++
			return sees(0)(camera, at)
		}})
		slices.Sort(clips)
		if diff := cmp.Diff([]string{"a 20s", "a 21.5s"}, clips); diff != "" || asked != 8 { // 5 s before the first is the fourth
			t.Error(asked, diff)
		}
		for _, r := range b.told {
			if r.Complete && len(r.Blobs()) != 5 {
				t.Errorf("%s: %s", r.Event, outline(r))
			}
		}
	})
}

// TestStopInMidClip has the gateway stop with a clip under way, in order and by a
// power cut.
func TestStopInMidClip(t *testing.T) {
	t.Run("in order", func(t *testing.T) {
		with(t, Config{}, func(t *testing.T, b *bench) {
			b.expect("al-1", time.Now(), "a")
			var clips []string
			b.see(7*time.Second, lenses{moment: sees(0), clip: films(&clips)})
			want := "7s attached; complete; still -5s attached -5s; still 0s attached 0s; still 5s attached 5s; clip 0s attached -10s clip_stopped"
			if got := b.outlines(); len(got) != 2 || got[1] != want {
				t.Errorf("%q", got)
			}
		})
	})
	t.Run("power cut", func(t *testing.T) {
		with(t, Config{}, func(t *testing.T, b *bench) {
			b.expect("al-1", time.Now(), "a")
			f, err := b.vault.Create() // what the cut left behind
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(f, "half a clip")
			time.Sleep(4 * time.Second)
			b.close()
			b.open()
			var clips []string
			gone := func(string, time.Time) (streams.Still, error) { return streams.Still{}, silent }
			b.see(time.Minute, lenses{moment: gone, clip: films(&clips), take: func(context.Context, string) (streams.Still, error) { return still("now", time.Now()), nil }})
			want := "attached; complete; still -5s none no_picture_gateway_down; still 0s attached 4s; still 5s attached 5.2s; clip 0s attached -10s"
			if got := outline(b.told[len(b.told)-1]); got != want {
				t.Errorf("%q", got)
			}
			names, err := os.ReadDir(b.dir + "/evidence")
			if err != nil || slices.ContainsFunc(names, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), incoming) }) {
				t.Errorf("%v: %v", names, err)
			}
		})
	})
}

// TestManifestNamesEveryFile reads a manifest as a stranger would.
func TestManifestNamesEveryFile(t *testing.T) {
	about := func(_ context.Context, event string) (Subject, error) {
		return Subject{ID: event, Site: "yard", SiteName: "北厂区 <1>", Cameras: map[string]string{"a": "东门"}, Value: 163.5, Limit: 1e21}, nil
	}
	with(t, Config{About: about, Watermark: MarkBurn, Version: "1.2.3"}, func(t *testing.T, b *bench) {
		var picture bytes.Buffer
		if err := jpeg.Encode(&picture, image.NewGray(image.Rect(0, 0, 640, 360)), nil); err != nil {
			t.Fatal(err)
		}
		b.expect("al-1", time.Now(), "a")
		var clips []string
		b.see(time.Minute, lenses{clip: films(&clips), moment: func(camera string, at time.Time) (streams.Still, error) {
			s, err := sees(0)(camera, at)
			s.JPEG = append(bytes.Clone(picture.Bytes()), byte(at.Second()))
			return s, err
		}})
		r := b.told[len(b.told)-1]
		text := b.read(r.Manifest)
		if int64(len(text)) != r.Size || !bytes.HasPrefix(text, []byte(`{"event":{"cameras":{"a":"东门"},"id":"al-1","limit":1e+21,"site":"yard","site_name":"北厂区 <1>","value":163.5},"format":"offsite-evidence/1","made_at":"2000-01-01T00:00:10Z","pieces":[{"camera":"a","captured_at":"1999-12-31T23:59:55Z","clock_offset":3000,"distance":-5000,`)) {
			t.Errorf("%s", text)
		}
		var m Manifest
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		for _, p := range m.Pieces {
			if p.Kind == Still && p.Marked == "" {
				t.Errorf("no marked copy of %+v", p)
			}
			if data := b.read(p.SHA256); int64(len(data)) != p.Size {
				t.Errorf("%d bytes, said %d", len(data), p.Size)
			}
		}
		if len(m.Pieces) != 4 || !strings.Contains(string(b.read(m.Pieces[3].SHA256)), "北厂区 <1> · 东门 · 2000-01-01 07:59:50 +08:00 · al-1") {
			t.Errorf("%d pieces", len(m.Pieces))
		}
		marked, err := jpeg.Decode(bytes.NewReader(b.read(m.Pieces[0].Marked)))
		if err != nil {
			t.Fatal(err)
		}
		white := 0
		for x := range 640 {
			for y := range 360 {
				if c, _, _, _ := marked.At(x, y).RGBA(); c > 0xc000 {
					white++
				}
			}
		}
		if white < 300 || white > 5000 {
			t.Errorf("%d white dots", white)
		}
	})
}

// read gives a file of the vault, whose name must be its hash.
func (b *bench) read(sha string) []byte {
	b.t.Helper()
	f, err := b.vault.Open(sha)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if sum := sha256.Sum256(data); err != nil || hex.EncodeToString(sum[:]) != sha {
		b.t.Fatal(sha, err)
	}
	return data
}

// TestMarkOfAStill writes names, time and event onto a picture's lower edge and leaves the rest.
func TestMarkOfAStill(t *testing.T) {
	img := image.NewGray(image.Rect(0, 0, 640, 360))
	for i := range img.Pix {
		img.Pix[i] = 0x80
	}
	var data bytes.Buffer
	if err := jpeg.Encode(&data, img, nil); err != nil {
		t.Fatal(err)
	}
	s := Subject{SiteName: "北厂区", Site: "yard", Cameras: map[string]string{"a": "东门"}}
	at := time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC)
	if d := cmp.Diff([]string{"北厂区", "东门", "2026-03-01 12:00:00 +08:00"}, s.words("a", at)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"yard", "b", "2026-03-01 12:00:00 +08:00"}, Subject{Site: "yard"}.words("b", at)); d != "" {
		t.Error(d)
	}
	out, err := stamp(data.Bytes(), append(s.words("a", at), "al-abcdefghijklmnopqrstuvwx"))
	if err != nil {
		t.Fatal(err)
	}
	marked, err := jpeg.Decode(bytes.NewReader(out))
	if err != nil || marked.Bounds() != img.Bounds() {
		t.Fatalf("picture of %v: %v", marked.Bounds(), err)
	}
	for _, place := range []image.Rectangle{image.Rect(0, 0, 640, 300), image.Rect(0, 328, 640, 360)} {
		least, most := uint32(0xffff), uint32(0)
		for x := place.Min.X; x < place.Max.X; x++ {
			for y := place.Min.Y; y < place.Max.Y; y++ {
				c, _, _, _ := marked.At(x, y).RGBA()
				least, most = min(least, c), max(most, c)
			}
		}
		if written := most-least > 0xc000; written != (place.Min.Y > 0) {
			t.Errorf("from %#x to %#x in %v", least, most, place)
		}
	}
	if _, err := stamp([]byte("no picture"), []string{"x"}); err == nil {
		t.Error("a watermark on nothing")
	}
}

// TestNoRowNamesAFileThatIsNotThere lets the rename fail of whatever a piece is kept
// as: a directory stands in its place. The other pieces and the restart do not suffer.
func TestNoRowNamesAFileThatIsNotThere(t *testing.T) {
	tests := []struct{ name, content string }{
		{"of a still", "a946684800000"},
		{"of the clip", "\x00\x00\x00\x20ftypiso6a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			with(t, Config{Watermark: MarkNone}, func(t *testing.T, b *bench) {
				sum := sha256.Sum256([]byte(tt.content))
				name := hex.EncodeToString(sum[:])
				if err := os.Mkdir(b.dir+"/evidence/"+name, 0o700); err != nil {
					t.Fatal(err)
				}
				b.expect("al-1", time.Now(), "a")
				var clips []string
				b.see(time.Minute, lenses{clip: films(&clips), moment: func(camera string, at time.Time) (streams.Still, error) {
					s, err := sees(0)(camera, at)
					s.JPEG = []byte(fmt.Sprint(camera, at.UnixMilli()))
					return s, err
				}, take: func(context.Context, string) (streams.Still, error) { return streams.Still{}, silent }})
				b.close()
				b.open()
				r, err := b.c.Of(t.Context(), "al-1")
				if err != nil || !r.Complete {
					t.Fatal(outline(r), err)
				}
				failed := 0
				for _, it := range r.Items {
					if it.State == Attached {
						b.read(it.SHA256)
						continue
					}
					failed++
					if it.SHA256 != "" || it.Problem == nil {
						t.Errorf("%+v", it)
					}
				}
				if failed != 1 {
					t.Errorf("%d pieces failed: %s", failed, outline(r))
				}
				b.read(r.Manifest)
				names, err := os.ReadDir(b.dir + "/evidence")
				if err != nil || slices.ContainsFunc(names, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), incoming) }) {
					t.Errorf("left behind: %v, %v", names, err)
				}
			})
		})
	}
}
