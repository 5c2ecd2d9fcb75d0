package edge

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"offsite/devices"
	"offsite/edge/breach"
	"offsite/edge/ptz"
	"offsite/edge/scenes"
	"offsite/streams/scene"
)

const (
	referenceWidth = 640           // of the pictures of references, pixels
	rememberEvery  = 6 * time.Hour // the slow changes that references have taken in are kept
)

// watch gives the watch of a camera: a new one goes on with the references that were
// kept and the fault that stands, and one that a person has set another reference for
// since is made anew.
func (s *lookout) watch(ctx context.Context, camera string, set time.Time, standing []breach.Event) (*watched, error) {
	old := s.watches[camera]
	if old != nil && old.set.Equal(set) {
		return old, nil
	}
	c := &s.cfg.Video.Watch
	w := &watched{set: set, saved: time.Now(), kept: map[aspect]scenes.Reference{}, Watch: scene.NewWatch(scene.Config{
		Dark: c.Dark, Flat: c.Flat, Faint: c.Faint, Turn: c.Turn, Holds: c.Holds.D(),
	})}
	kept, err := s.References.Of(ctx, camera)
	if err != nil {
		return nil, err
	}
	for _, ref := range kept {
		if err := w.Restore(ref.Place, ref.Night, ref.Edges); err != nil {
			return nil, fmt.Errorf("camera %s: %w", camera, err)
		}
		w.kept[aspect{ref.Place, ref.Night}] = ref
	}
	for _, ev := range standing {
		if f, of := strings.CutPrefix(ev.Limit, rulePrefix); of && old == nil && ev.Camera == camera && ev.Limit != breach.CameraLost {
			w.Resume(scene.Finding(f))
		}
	}
	s.watches[camera] = w
	return w, nil
}

// stand says to a camera's watch where it stands. One that was turned by hand, but shows what
// it does at home, is at home again.
func (s *lookout) stand(ctx context.Context, camera string, w *watched, stance ptz.Stance) {
	if stance.Astray && w.Fits(scene.Home, w.view) {
		s.PTZ.Home(ctx, camera, stance)
		stance.Astray = false
	}
	if w.place = stance.Place; stance.Astray {
		w.Stray()
		return
	}
	w.Stand(stance.Place)
}

// replaced are presets that are another view than they were, or none, until the lookout has
// taken notice.
type replaced struct {
	mu   sync.Mutex
	list []preset
}

type preset struct{ camera, token string }

// presetReplaced has what a preset looked like forgotten.
func (b *Box) presetReplaced(ctx context.Context, camera, token string) {
	if err := b.References.Void(context.WithoutCancel(ctx), camera, token); err != nil {
		b.logger.ErrorContext(ctx, "reference of a preset not forgotten", "camera", camera, "err", err)
	}
	b.replaced.mu.Lock()
	defer b.replaced.mu.Unlock()
	b.replaced.list = append(b.replaced.list, preset{camera, token})
}

// void forgets presets that were replaced. What was learnt of one between two looks is
// forgotten with it.
func (s *lookout) void(ctx context.Context) error {
	s.replaced.mu.Lock()
	list := s.replaced.list
	s.replaced.list = nil
	s.replaced.mu.Unlock()
	for _, p := range list {
		if err := s.References.Void(ctx, p.camera, p.token); err != nil {
			return err
		}
		if w := s.watches[p.camera]; w != nil {
			w.Forget(p.token)
			maps.DeleteFunc(w.kept, func(a aspect, _ scenes.Reference) bool { return a.place == p.token })
		}
	}
	return nil
}

// keep keeps a reference that was learnt from the picture looked at last, and now and
// then what the others have taken in.
func (s *lookout) keep(ctx context.Context, camera string, w *watched) error {
	of := aspect{w.place, w.view.Night()}
	if fresh := w.Reference(of.place, of.night); fresh != nil && w.kept[of].Edges == nil {
		still, err := s.Cameras.Shrink(ctx, w.still, referenceWidth)
		if err != nil {
			s.logger.DebugContext(ctx, "reference not kept yet", "camera", camera, "err", err)
			return nil
		}
		ref := scenes.Reference{Camera: camera, Place: of.place, Night: of.night, MadeAt: still.At.UTC().Truncate(time.Millisecond), Edges: fresh, Still: still.JPEG}
		w.kept[of] = ref
		return s.References.Learn(ctx, ref)
	}
	if time.Since(w.saved) < rememberEvery {
		return nil
	}
	w.saved = time.Now()
	for _, ref := range w.kept {
		ref.Edges = w.Reference(ref.Place, ref.Night)
		if err := s.References.Follow(ctx, ref); err != nil {
			return err
		}
	}
	return nil
}

// SetReference makes what a camera shows now what it ought to show where it stands, as who
// says, and calls also in the same transaction. Where it was turned to by hand is home from
// then on. It returns a Problem where there is no picture, of code camera_moves while it is
// being turned, and of code nothing_to_recognise where there is too little in the picture.
func (b *Box) SetReference(ctx context.Context, camera, who string, also func(ctx context.Context, tx *sql.Tx) error) (scenes.Reference, error) {
	stance := b.PTZ.Stance(camera)
	still, err := b.Cameras.Moment(ctx, camera, time.Now())
	if err != nil {
		return scenes.Reference{}, err
	}
	if stance.Moves || b.PTZ.Stance(camera) != stance {
		return scenes.Reference{}, &devices.Problem{
			Kind: devices.ErrConflict, Code: "camera_moves",
			ZH: "摄像机正在转动或尚未停稳，请停止巡航并稍候再设", EN: "the camera is being turned or has not come to rest yet; end its patrol and try again in a moment",
		}
	}
	view, err := scene.ViewOf(still.JPEG)
	if err != nil {
		return scenes.Reference{}, &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "no_picture_decoder", ZH: "画面无法解码，不能设为参考", EN: "the picture cannot be decoded and is no reference", Cause: err,
		}
	}
	ref := scenes.Reference{Camera: camera, Place: stance.Place, Night: view.Night(), MadeAt: still.At, SetBy: who, Edges: view.Reference()}
	if ref.Edges == nil {
		return ref, &devices.Problem{
			Kind: devices.ErrConflict, Code: "nothing_to_recognise",
			ZH: "画面中可辨认的内容太少（过暗、被遮挡或一片空白），不能设为参考；请在光线充足、镜头清洁时再试",
			EN: "there is too little in the picture to recognise it by (dark, covered or blank); try again in good light with a clean lens",
		}
	}
	if still, err = b.Cameras.Shrink(ctx, still, referenceWidth); err != nil {
		return ref, err
	}
	ref.Still = still.JPEG
	err = b.DB.Update(ctx, func(tx *sql.Tx) (err error) {
		if ref, err = b.References.Set(ctx, tx, ref); err != nil {
			return err
		}
		return also(ctx, tx)
	})
	if err != nil {
		return ref, err
	}
	if stance.Astray {
		b.PTZ.Home(ctx, camera, stance)
	}
	select {
	case b.referred <- struct{}{}:
	default:
	}
	return ref, nil
}
