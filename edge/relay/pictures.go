package relay

import (
	"context"
	"errors"
	"io"

	"offsite/devices"
	"offsite/streams"
)

// Past gives pictures that were recorded, at their own pace; see
// [offsite/streams/recording.Player]. Next returns [io.EOF] where there are no more.
type Past interface {
	Next(ctx context.Context) (f *streams.Frame, late bool, err error)
	Again()
	Close() error
}

// pictures are what a session sends.
type pictures interface {
	// next gives the next one; late says that it is to be decoded rather than seen.
	next(ctx context.Context) (f *streams.Frame, late bool, err error)
	// again goes back to the key frame from which the next one can be decoded.
	again()
	// over says why next gave none.
	over(err error) error
	// lost is how many frames were too old when they could be sent.
	lost() int64
	close()
}

// live are those that a camera shows now.
type live struct {
	feed    *streams.Feed
	reader  *streams.Reader
	until   uint64 // Seq up to which frames are old: the group is being caught up
	skipped uint64
}

func (l *live) next(ctx context.Context) (*streams.Frame, bool, error) {
	f, err := l.reader.Next(ctx)
	if err != nil {
		return nil, false, err
	}
	return f, f.Seq < l.until, nil
}

func (l *live) again() {
	l.close()
	l.reader = l.feed.Subscribe()
	l.until = l.feed.State().Frames
}

func (l *live) over(err error) error {
	if errors.Is(err, streams.ErrClosed) {
		return &ending{CameraLost, &devices.Problem{Kind: devices.ErrNotFound, Code: "camera_retired", ZH: "摄像机已停用", EN: "the camera is retired"}}
	}
	if p := l.feed.State().Problem; p != nil {
		why := *p
		why.Kind = devices.ErrUnavailable
		return &ending{CameraLost, &why}
	}
	return &ending{CameraLost, &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "camera_silent", ZH: "摄像机没有画面，请检查摄像机", EN: "the camera gives no picture; check the camera",
	}}
}

func (l *live) lost() int64 { return int64(l.skipped) } //nolint:gosec // a count

// close gives the reader up.
func (l *live) close() {
	if l.reader != nil {
		l.skipped += l.reader.Lost()
		l.reader.Close()
	}
	l.reader = nil
}

// past are those that a camera has shown.
type past struct{ player Past }

func (p past) next(ctx context.Context) (*streams.Frame, bool, error) { return p.player.Next(ctx) }
func (p past) again()                                                 { p.player.Again() }
func (p past) lost() int64                                            { return 0 }
func (p past) close()                                                 { _ = p.player.Close() } // only read

func (p past) over(err error) error {
	why := &devices.Problem{Kind: devices.ErrNotFound, Code: "recording_over", ZH: "录像已播放完毕", EN: "there is no more of the recording"}
	if !errors.Is(err, io.EOF) {
		why = devices.AllProblems(err)[0]
	}
	return &ending{RecordingOver, why}
}
