package footage

import (
	"context"
	"errors"
	"io"
	"time"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/recording"
)

const (
	playWindow = 24 * time.Hour   // that is looked ahead
	playPiece  = 30 * time.Second // that is fetched from a recorder at once: who watches waits for the first
)

// Player gives the pictures of a camera since a time at the pace at which they were
// taken, the recorder's where the gateway has none; what nobody has is passed over. It is for one
// goroutine.
type Player struct {
	From  time.Time // of the first picture that is to be seen
	Plan  []Stretch // what is going to be seen, as far as that is known
	first streams.Codec

	f      *Footage
	camera string
	ctx    context.Context //nolint:containedctx // of what is fetched ahead; Close ends it
	cancel context.CancelFunc
	rest   []run             // that are to come
	now    *recording.Player // nil: there is none
	ahead  chan opened       // the next one; nil: none is opened
}

// opened is a player that was opened, or why it was not.
type opened struct {
	run
	player *recording.Player
	err    error
}

// Play gives a player of what there is of a camera since from; close it. What the recorder has
// of the first moments is fetched before it returns, the rest while it plays. It returns ErrNotFound where nobody has
// anything of the next 24 hours.
func (f *Footage) Play(ctx context.Context, camera string, from time.Time) (*Player, error) {
	within := Span{from, from.Add(playWindow)}
	t, err := f.needed(ctx, camera, within.From, within.To)
	if err != nil {
		return nil, err
	}
	p := &Player{f: f, camera: camera, rest: t.runs(within, playWindow)}
	for _, r := range p.rest {
		p.Plan = append(p.Plan, Stretch{Span: r.Span, Source: r.source, Why: r.why})
	}
	p.ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	first := p.open(ctx)
	if first.player == nil {
		p.cancel()
		if errors.Is(first.err, io.EOF) {
			first.err = nil
		}
		return nil, t.nothing(first.err)
	}
	p.now, p.From, p.first = first.player, first.player.From, first.player.Codec()
	for len(p.Plan) > 0 && !p.Plan[0].To.After(p.From) { // could not be had
		p.Plan = p.Plan[1:]
	}
	p.fetch()
	return p, nil
}

// open opens the next run that can be had. The error is [io.EOF] where there is none, and that of the
// last one that could not be had.
func (p *Player) open(ctx context.Context) opened {
	failed := io.EOF
	for len(p.rest) > 0 {
		o := opened{run: p.rest[0]}
		switch {
		case o.source == Own:
			until := o.To
			if p.rest = p.rest[1:]; len(p.rest) == 0 {
				until = time.Time{} // it may still be recorded
			}
			o.player, o.err = p.f.cfg.Own.Play(ctx, p.camera, o.From, until)
		case o.length() > playPiece:
			o.To = o.From.Add(playPiece)
			p.rest[0].From = o.To
			o.player, o.err = p.f.cfg.Recorders.Play(ctx, p.camera, o.From, o.To)
		default:
			p.rest = p.rest[1:]
			o.player, o.err = p.f.cfg.Recorders.Play(ctx, p.camera, o.From, o.To)
		}
		if o.err == nil {
			return o
		}
		if ctx.Err() != nil {
			return opened{err: context.Cause(ctx)}
		}
		if !errors.Is(o.err, devices.ErrNotFound) {
			p.skip(o.run)
		}
		if !errors.Is(failed, devices.ErrUnavailable) {
			failed = o.err
		}
	}
	return opened{err: failed}
}

// skip leaves out the rest of what a recorder does not give.
func (p *Player) skip(failed run) {
	if failed.source == Recorder && len(p.rest) > 0 && p.rest[0].source == Recorder && p.rest[0].From.Equal(failed.To) {
		p.rest = p.rest[1:]
	}
}

// fetch opens the next run while the one at hand plays; Close waits for it.
func (p *Player) fetch() {
	if len(p.rest) == 0 {
		p.ahead = nil
		return
	}
	ahead := make(chan opened, 1)
	p.ahead = ahead
	go func() { ahead <- p.open(p.ctx) }()
}

// Next gives the next picture when it is due. late says that it is to be decoded
// rather than seen. It returns [io.EOF] where nothing more is to be had.
func (p *Player) Next(ctx context.Context) (f *streams.Frame, late bool, err error) {
	for {
		f, late, err := p.now.Next(ctx)
		if !errors.Is(err, io.EOF) {
			return f, late, err
		}
		if err := p.turn(ctx); err != nil {
			return nil, false, err
		}
	}
}

// turn goes on with the next run.
func (p *Player) turn(ctx context.Context) error {
	if p.ahead == nil {
		return io.EOF
	}
	var next opened
	select {
	case next = <-p.ahead:
	case <-ctx.Done():
		return recorderSlow
	}
	p.ahead = nil
	if next.err != nil {
		return next.err
	}
	if codec := next.player.Codec(); codec != p.first {
		return errors.Join(anotherCodec(next.From, codec), next.player.Close())
	}
	next.player.Follow(p.now)
	before := p.now
	p.now = next.player
	p.fetch()
	return before.Close()
}

var recorderSlow = &devices.Problem{
	Kind: devices.ErrUnavailable, Code: "replay_slow", ZH: "录像机发送过慢，回放中断", EN: "the recorder sends too slowly for the playback to go on",
}

func anotherCodec(at time.Time, codec streams.Codec) *devices.Problem {
	when := at.UTC().Format(time.RFC3339)
	return &devices.Problem{
		Kind: devices.ErrConflict, Code: "recording_codec", ZH: "自 " + when + " 起录像的编码为 " + string(codec) + "，请从该时刻另开一路",
		EN: "from " + when + " on the recording is coded in " + string(codec) + "; open another stream from then",
	}
}

// Again goes back to the key frame of the picture that was given last; see [recording.Player].
func (p *Player) Again() { p.now.Again() }

// Close gives up what is open and ends what is fetched.
func (p *Player) Close() error {
	p.cancel()
	err := p.now.Close()
	if p.ahead != nil {
		if next := <-p.ahead; next.player != nil {
			err = errors.Join(err, next.player.Close())
		}
		p.ahead = nil
	}
	return err
}
