package hls

import (
	"bytes"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/bluenviron/gohlslib/v2"
	"github.com/bluenviron/gohlslib/v2/pkg/codecs"

	"offsite/devices"
	"offsite/streams"
)

const (
	clock      = 90000 // ticks a second
	segment    = 900 * time.Millisecond
	part       = 190 * time.Millisecond // 5 pictures of 25 a second, 6 of 30: no usual rate lies at the edge
	segments   = 7                      // the least that Low-Latency HLS needs; one more is being made
	mostGap    = 2 * time.Second
	indexName  = "index.m3u8"
	gapName    = "gap.mp4" // stands in a first playlist for segments that never were
	libraryOwn = "video1_stream.m3u8"
)

// edition is a run of pictures of one format without a gap. One goroutine
// writes; any may read.
type edition struct {
	name   string // of the media playlist
	lib    *gohlslib.Muxer
	track  *gohlslib.Track
	params *streams.Parameters
	promise

	begun      bool
	connection uint64
	base       time.Duration // PTS that is shown as zero
	last       time.Duration // DTS of the newest frame
	cadence    cadence
}

// newEdition gives an edition without a picture. A Problem says that pictures of
// this kind cannot be shown so.
//
// Step is the distance of its pictures, zero if not known.
func newEdition(p *streams.Parameters, step time.Duration, cfg Config) (*edition, *devices.Problem) {
	e := &edition{name: rand.Text()[:8] + ".m3u8", params: p, track: &gohlslib.Track{ClockRate: clock}, cadence: cadence{step: step}}
	switch p.Codec {
	case streams.H264:
		e.track.Codec = &codecs.H264{SPS: p.SPS, PPS: p.PPS}
	case streams.H265:
		e.track.Codec = &codecs.H265{VPS: p.VPS, SPS: p.SPS, PPS: p.PPS}
	default:
		return nil, cannot(p.Codec)
	}
	e.lib = &gohlslib.Muxer{
		Variant: gohlslib.MuxerVariantLowLatency, Tracks: []*gohlslib.Track{e.track},
		SegmentCount: segments, SegmentMinDuration: segment, PartMinDuration: part,
		// Its buffers double as they grow: half of a segment's share may be empty.
		SegmentMaxSize: uint64(cfg.Bytes / (segments + 1) / 2), //nolint:gosec // positive
		OnEncodeError:  func(err error) { cfg.Log.Debug("HLS playlist", "err", err) },
	}
	if err := e.lib.Start(); err != nil {
		return nil, &devices.Problem{Kind: devices.ErrUnavailable, Code: codeCannot, ZH: "无法生成 HLS 播放列表", EN: "no HLS playlist can be made", Cause: err}
	}
	return e, nil
}

// continues says whether f belongs behind what has been written.
func (e *edition) continues(f *streams.Frame) bool {
	return !e.begun || (e.connection == f.Connection && e.params.Equal(f.Params) && f.DTS-e.last < mostGap)
}

func (e *edition) write(f *streams.Frame) error {
	if !e.begun {
		e.begun, e.connection, e.base = true, f.Connection, f.DTS
	}
	e.last = f.DTS
	units := f.NALUs
	if f.Key {
		units = append(f.Params.Sets(), units...)
	}
	pts := ticks(e.cadence.even(f.PTS-e.base, f.DTS-e.base))
	if e.params.Codec == streams.H265 {
		return e.lib.WriteH265(e.track, f.At, pts, units)
	}
	return e.lib.WriteH264(e.track, f.At, pts, units)
}

func ticks(d time.Duration) int64 {
	whole := d / time.Second
	return int64(whole)*clock + int64((d-whole*time.Second)*clock/time.Second)
}

// close ends the requests that wait for the next picture.
func (e *edition) close() { e.lib.Close() }

// errGone says that a file is no longer there, or never was.
var errGone = errors.New("no such file")

// serve answers with one file of the library's.
func (e *edition) serve(w http.ResponseWriter, r *http.Request, name string) error {
	switch name {
	case indexName:
		return e.playlist(w, r, indexName, e.index)
	case gapName: // older players ask for it although they should not
		w.Header().Set("Content-Type", "video/mp4")
		w.WriteHeader(http.StatusOK)
		return nil
	case e.name:
		return e.playlist(w, r, libraryOwn, e.keep)
	}
	return e.hand(&answer{to: w}, r, name)
}

// index puts our name of the media playlist into the multivariant one.
func (e *edition) index(text []byte) []byte {
	return bytes.ReplaceAll(text, []byte(libraryOwn), []byte(e.name))
}

// playlist answers with one of the library's playlists as edit leaves it.
func (e *edition) playlist(w http.ResponseWriter, r *http.Request, name string, edit func([]byte) []byte) error {
	var text page
	if err := e.hand(&answer{to: &text}, r, name); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/vnd.apple.mpegurl")
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(edit(text.Bytes()))
	return err
}

// hand lets the library answer.
func (e *edition) hand(a *answer, r *http.Request, name string) error {
	asked := &http.Request{Method: r.Method, URL: &url.URL{Path: "/" + name, RawQuery: controls(r.URL.Query())}, Header: http.Header{}}
	e.lib.Handle(a, asked.WithContext(r.Context()))
	switch a.status {
	case http.StatusOK:
		return a.err
	case http.StatusBadRequest:
		return devices.Invalid("_HLS_msn", "bad_position", "播放列表中没有该位置", "the playlist has no such position")
	}
	return errGone // not known, or ended while it was waited for
}

// controls keeps of a query the position that is waited for (RFC 8216, second
// edition, 6.2.5.2): the rest must not come back in the playlist's names.
func controls(q url.Values) string {
	kept := url.Values{}
	for _, name := range []string{"_HLS_msn", "_HLS_part"} {
		if v := q.Get(name); v != "" {
			kept.Set(name, v)
		}
	}
	return kept.Encode()
}
