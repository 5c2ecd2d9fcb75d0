package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/edge/dispatch/platformtest"
	"offsite/edge/dispatch/wire"
	"offsite/gateway/api/contract"
	"offsite/streams"
	"offsite/streams/rtsp/rtsptest"
	"offsite/streams/snapshot"
)

// TestPictureOfABreachReachesThePlatform drives the whole road: a reading by
// MQTT, its alarm, a picture of a camera that is not ours, the platform.
func TestPictureOfABreachReachesThePlatform(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is absent: apt-get install ffmpeg")
	}
	clip := cameraClip(t, "h264", 20)
	gst := startGstCamera(t, clip, "--user", "admin", "--password", "Pass-w0rd")
	ours := rtspCameras(t, rtsptest.Config{})
	ours.Camera("cam").Damage(true)
	p := startProgram(t, "")
	yard, tank := p.watched(t, "yard", thing{"url": gst.camera().URL, "username": "admin", "password": "Pass-w0rd"}), p.watched(t, "tank", thing{"url": ours.URL("cam")})

	first := yard.breach()
	one := yard.picture(first, vtestWidth, vtestHeight)
	taken := ofBreach(first).CapturedAt.Time
	p.await("the street to move on", func() error { return since(taken, 2*time.Second) })
	second := yard.breach()
	two := yard.picture(second, vtestWidth, vtestHeight)
	difference, spread := pictureStats(one, two)
	if difference < 0.3 || spread < 100 || ofBreach(first).SHA256 == ofBreach(second).SHA256 {
		t.Errorf("pictures differ by %.2f, brightness spreads over %.0f", difference, spread)
	}
	t.Logf("two pictures of the yard differ by %.2f", difference)

	gst.kill()
	p.await("the camera is gone", func() error {
		if p.plays("yard") == nil {
			return errors.New("still connected")
		}
		return nil
	})
	lost, damaged := yard.begin(), tank.begin() // both at once: each is tried for a while
	yard.none(lost, snapshot.CodeSilent, "自", "silent since")
	tank.none(damaged, snapshot.CodeDamaged, "损坏", "damaged")

	startGstCamera(t, clip, "--user", "admin", "--password", "Pass-w0rd", "--port", gst.port)
	ours.Camera("cam").Damage(false)
	p.await("the camera is back", func() error { return p.plays("yard") })
	yard.picture(yard.breach(), vtestWidth, vtestHeight)
	tank.picture(tank.breach(), 640, 360)
	named := map[string]bool{}
	p.await("all evidence", func() error {
		complete := 0
		for _, e := range p.platform.Events() {
			if e.Evidence.Complete != nil && *e.Evidence.Complete {
				complete++
			}
			for _, it := range e.Evidence.Items {
				named[it.SHA256] = true
			}
			named[e.Evidence.Manifest] = true
		}
		if complete < 6 {
			return fmt.Errorf("complete for %d of 6 events", complete)
		}
		return nil
	})
	delete(named, "")
	if d := cmp.Diff(slices.Sorted(maps.Keys(named)), p.platform.Blobs()); d != "" {
		t.Errorf("the platform holds other pictures than the events name: %s", d)
	}
	if v := p.platform.Violations(); len(v) > 0 {
		t.Errorf("violations: %v", v)
	}
}

func since(at time.Time, d time.Duration) error {
	if got := time.Since(at); got < d {
		return fmt.Errorf("%s have passed", got)
	}
	return nil
}

// watched is an outlet that a camera of the same name watches.
type watched struct {
	*program
	id      string
	publish func(topic, payload string)
	events  int
}

func (p *program) watched(t *testing.T, id string, camera thing) *watched {
	t.Helper()
	w := &watched{program: p, id: id, publish: p.sensor(t, id)}
	camera["id"], camera["site"], camera["name"], camera["outlets"] = id, "plant", id, []string{id}
	p.post("/cameras", camera)
	p.await("camera "+id, func() error { return p.plays(id) })
	return w
}

// begin breaches the limit, and gives the event's opening at the platform,
// which waits for no picture.
func (w *watched) begin() platformtest.Event {
	w.t.Helper()
	if w.events > 0 {
		w.publish("offsite/"+w.id+"/v", at(-50*time.Millisecond, 50))
	}
	w.events++
	began := time.Now()
	w.publish("offsite/"+w.id+"/v", at(0, 150))
	opened := func() []platformtest.Event { return w.told(w.id+".v", wire.EventStepOpened) }
	w.await("alarm", func() error { return wantCount(opened(), w.events) })
	if took := time.Since(began); took > 2*time.Second {
		w.t.Errorf("the alarm was at the platform after %s", took)
	}
	e := opened()[w.events-1]
	if e.Evidence.State != wire.EvidenceStatePending || len(e.Evidence.Items) > 0 {
		w.t.Errorf("opened with evidence %+v", e.Evidence)
	}
	return e
}

// ofBreach gives the still of the breach itself.
func ofBreach(e platformtest.Event) wire.EvidenceItem {
	for _, it := range e.Evidence.Items {
		if it.Kind == "still" && it.MomentMS == 0 {
			return it
		}
	}
	return wire.EvidenceItem{}
}

// settled gives the event's first message of evidence.
func (w *watched) settled(opened platformtest.Event) (found platformtest.Event) {
	w.t.Helper()
	w.await("evidence", func() error {
		for _, e := range w.told(w.id+".v", wire.EventStepEvidence) {
			if e.ID == opened.ID {
				found = e
				return nil
			}
		}
		return errors.New("none")
	})
	if ofBreach(found).Camera != w.id {
		w.t.Fatalf("evidence %+v", found.Evidence)
	}
	return found
}

func (w *watched) breach() platformtest.Event { w.t.Helper(); return w.settled(w.begin()) }

// picture checks what the platform and the API hold of an event's picture.
func (w *watched) picture(e platformtest.Event, width, height int) image.Image {
	w.t.Helper()
	it := ofBreach(e)
	if e.Evidence.State != wire.EvidenceStateAttached || it.MediaType != "image/jpeg" || it.DistanceMS == nil || it.Width != width || it.Height != height {
		w.t.Fatalf("evidence %+v", e.Evidence)
	}
	if d := time.Duration(*it.DistanceMS) * time.Millisecond; d < -5*time.Second || d > 10*time.Second || it.CapturedAt.Sub(e.StartedAt.Time) != d {
		w.t.Errorf("captured %s at a distance of %s from %s", it.CapturedAt, d, e.StartedAt)
	}
	blob := w.platform.Blob(it.SHA256)
	if sum := sha256.Sum256(blob); hex.EncodeToString(sum[:]) != it.SHA256 {
		w.t.Fatalf("the platform's %d bytes have another hash than %s", len(blob), it.SHA256)
	}
	var own []byte
	if err := w.Do(w.t.Context(), "GET", "/blobs/"+it.SHA256, nil, &own); err != nil || !bytes.Equal(own, blob) {
		w.t.Errorf("the gateway gives %d bytes, the platform has %d: %v", len(own), len(blob), err)
	}
	return cameraPicture(w.t, streams.Still{JPEG: blob, Step: it.Step}, width, height)
}

// none checks that an event says in both languages why it has no picture.
func (w *watched) none(opened platformtest.Event, code string, words ...string) {
	w.t.Helper()
	e := w.settled(opened)
	it := ofBreach(e)
	if it.SHA256 != "" || !it.CapturedAt.IsZero() { // one from before may be there
		w.t.Errorf("evidence %+v", e.Evidence)
	}
	said(w.t, contract.FieldProblem{Zh: it.ReasonZh, En: it.Reason}, "", "", words...)
	var detail struct {
		Pictures []contract.Picture `json:"pictures"`
	}
	if err := w.Do(w.t.Context(), "GET", "/events/"+e.ID, nil, &detail); err != nil {
		w.t.Fatalf("event %+v, %v", detail, err)
	}
	at := slices.IndexFunc(detail.Pictures, func(p contract.Picture) bool { return p.Kind == "still" && p.Moment == 0 })
	if at < 0 || detail.Pictures[at].Problem == nil {
		w.t.Fatalf("event %+v", detail)
	}
	said(w.t, *detail.Pictures[at].Problem, code, detail.Pictures[at].Problem.Field, words...)
	if strings.Contains(it.Reason+it.ReasonZh, "Pass-w0rd") {
		w.t.Error("the reason holds the password")
	}
}
