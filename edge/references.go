package edge

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"offsite/devices"
	"offsite/edge/breach"
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
	w := &watched{set: set, saved: time.Now(), Watch: scene.NewWatch(scene.Config{
		Dark: c.Dark, Flat: c.Flat, Faint: c.Faint, Turn: c.Turn, Holds: c.Holds.D(),
	})}
	kept, err := s.References.Of(ctx, camera)
	if err != nil {
		return nil, err
	}
	for _, ref := range kept {
		if err := w.Restore(ref.Night, ref.Edges); err != nil {
			return nil, fmt.Errorf("camera %s: %w", camera, err)
		}
		w.kept[place(ref.Night)] = ref
	}
	for _, ev := range standing {
		if f, of := strings.CutPrefix(ev.Limit, ruleOf("")); of && old == nil && ev.Camera == camera && ev.Limit != breach.CameraLost {
			w.Resume(scene.Finding(f))
		}
	}
	s.watches[camera] = w
	return w, nil
}

func place(night bool) int {
	if night {
		return 1
	}
	return 0
}

// keep keeps a reference that was learnt from the picture looked at last, and now and
// then what the others have taken in.
func (s *lookout) keep(ctx context.Context, camera string, w *watched) error {
	night := w.view.Night()
	if fresh := w.Reference(night); fresh != nil && w.kept[place(night)].Edges == nil {
		still, err := s.Cameras.Shrink(ctx, w.still, referenceWidth)
		if err != nil {
			s.logger.DebugContext(ctx, "reference not kept yet", "camera", camera, "err", err)
			return nil
		}
		ref := scenes.Reference{Camera: camera, Night: night, MadeAt: still.At.UTC().Truncate(time.Millisecond), Edges: fresh, Still: still.JPEG}
		w.kept[place(night)] = ref
		return s.References.Learn(ctx, ref)
	}
	if time.Since(w.saved) < rememberEvery {
		return nil
	}
	w.saved = time.Now()
	for _, ref := range w.kept {
		if ref.Edges == nil {
			continue
		}
		ref.Edges = w.Reference(ref.Night)
		if err := s.References.Follow(ctx, ref); err != nil {
			return err
		}
	}
	return nil
}

// SetReference makes what a camera shows now what it ought to show, as who says, and
// calls also in the same transaction. It returns a Problem where there is no picture,
// and of code nothing_to_recognise where there is too little in it.
func (b *Box) SetReference(ctx context.Context, camera, who string, also func(ctx context.Context, tx *sql.Tx) error) (scenes.Reference, error) {
	still, err := b.Cameras.Moment(ctx, camera, time.Now())
	if err != nil {
		return scenes.Reference{}, err
	}
	view, err := scene.ViewOf(still.JPEG)
	if err != nil {
		return scenes.Reference{}, &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "no_picture_decoder", ZH: "画面无法解码，不能设为参考", EN: "the picture cannot be decoded and is no reference", Cause: err,
		}
	}
	ref := scenes.Reference{Camera: camera, Night: view.Night(), MadeAt: still.At, SetBy: who, Edges: view.Reference()}
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
	select {
	case b.referred <- struct{}{}:
	default:
	}
	return ref, nil
}
