package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/clip"
)

// Format names the form of manifests.
const Format = "offsite-evidence/1"

// Subject is what a manifest says of its event.
type Subject struct {
	ID         string            `json:"id"`
	Kind       string            `json:"kind,omitempty"`
	Site       string            `json:"site,omitempty"`
	SiteName   string            `json:"site_name,omitempty"`
	Outlet     string            `json:"outlet,omitempty"`
	Point      string            `json:"point,omitempty"`
	Factor     string            `json:"factor,omitempty"`
	Value      float64           `json:"value"`
	Unit       string            `json:"unit,omitempty"`
	Limit      float64           `json:"limit"`
	LimitID    string            `json:"limit_id,omitempty"`
	Level      string            `json:"level,omitempty"`
	StartedAt  time.Time         `json:"started_at,omitzero"`      // by the reading's clock
	ReceivedAt time.Time         `json:"received_at,omitzero"`     // by the gateway's
	Offset     *int64            `json:"platform_clock,omitempty"` // the platform's clock less the gateway's, milliseconds; absent: not known
	Cameras    map[string]string `json:"cameras,omitempty"`        // names by id
}

func (Subject) named(name, id string) string {
	if name == "" {
		return id
	}
	return name
}

// Manifest names every piece of evidence of one event. Times are RFC 3339 in
// UTC, by the gateway's clock where nothing else is said.
type Manifest struct {
	Format  string    `json:"format"`
	Program string    `json:"program"` // version of the gateway
	MadeAt  time.Time `json:"made_at"`
	Event   Subject   `json:"event"`
	Pieces  []Piece   `json:"pieces"`
}

// Piece is one file of a manifest, or why there is none.
type Piece struct {
	Camera      string             `json:"camera"`
	Kind        string             `json:"kind"`   // still, clip
	Moment      int64              `json:"moment"` // wanted distance from the breach, milliseconds
	SHA256      string             `json:"sha256,omitempty"`
	Marked      string             `json:"marked_sha256,omitempty"` // copy with the watermark burnt in
	Size        int64              `json:"size,omitempty"`          // bytes
	MediaType   string             `json:"media_type,omitempty"`
	CapturedAt  *time.Time         `json:"captured_at,omitempty"`
	Until       *time.Time         `json:"until,omitempty"`
	Distance    *int64             `json:"distance,omitempty"` // captured_at less the breach, milliseconds
	TakenAt     *time.Time         `json:"taken_at,omitempty"` // captured_at by the clock of time_source
	TimeSource  streams.TimeSource `json:"time_source,omitempty"`
	ClockOffset *int64             `json:"clock_offset,omitempty"` // the camera's clock less the gateway's, milliseconds
	Step        string             `json:"step,omitempty"`
	Width       int                `json:"width,omitempty"`
	Height      int                `json:"height,omitempty"`
	Frames      int                `json:"frames,omitempty"`
	Codec       streams.Codec      `json:"codec,omitempty"`
	Gaps        []clip.Span        `json:"gaps,omitempty"`
	Reason      *Reason            `json:"reason,omitempty"` // why there is none, or what it lacks
}

// Reason is a Problem as a manifest writes it.
type Reason struct {
	Code string `json:"code"`
	ZH   string `json:"zh"`
	EN   string `json:"en"`
}

func reasonOf(p *devices.Problem) *Reason {
	if p == nil {
		return nil
	}
	return &Reason{p.Code, p.ZH, p.EN}
}

// manifest writes what there is of an event in canonical form.
func (c *Collector) manifest(ctx context.Context, r Result) ([]byte, error) {
	m := Manifest{Format: Format, Program: c.cfg.Version, MadeAt: time.Now().UTC().Truncate(time.Millisecond), Event: c.about(ctx, r.Event), Pieces: []Piece{}}
	for _, it := range r.Items {
		p := Piece{
			Camera: it.Camera, Kind: it.Kind, Moment: it.Moment.Milliseconds(), SHA256: it.SHA256, Marked: it.Marked, Size: it.Size, MediaType: it.MediaType,
			TimeSource: it.TimeSource, ClockOffset: it.ClockOffset, Step: it.Step, Width: it.Width, Height: it.Height,
			Frames: it.Frames, Codec: it.Codec, Gaps: it.Gaps, Reason: reasonOf(it.Problem),
		}
		if it.State == Attached {
			distance := it.Distance.Milliseconds()
			p.CapturedAt, p.Distance = &it.CapturedAt, &distance
		}
		if !it.TakenAt.IsZero() {
			p.TakenAt = &it.TakenAt
		}
		if !it.Until.IsZero() {
			p.Until = &it.Until
		}
		m.Pieces = append(m.Pieces, p)
	}
	text, err := canonical(m)
	if err != nil {
		return nil, fmt.Errorf("manifest of event %s: %w", r.Event, err)
	}
	return text, nil
}

// canonical writes v as RFC 8785 wants it. Our names are ASCII, so that byte order
// is the order of UTF-16 units, and encoding/json writes numbers as ECMAScript does.
func canonical(v any) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var tree any
	d := json.NewDecoder(bytes.NewReader(plain))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(tree); err != nil {
		return nil, err
	}
	return plainSeparators(bytes.TrimRight(out.Bytes(), "\n")), nil
}

// plainSeparators writes U+2028 and U+2029 as they are, which encoding/json always
// escapes. A backslash that is escaped itself begins no escape.
func plainSeparators(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		at := bytes.IndexByte(text, '\\')
		if at < 0 {
			break
		}
		out, text = append(out, text[:at]...), text[at:]
		switch {
		case bytes.HasPrefix(text, []byte(`\u2028`)):
			out, text = append(out, "\u2028"...), text[6:]
		case bytes.HasPrefix(text, []byte(`\u2029`)):
			out, text = append(out, "\u2029"...), text[6:]
		default: // a backslash and what it escapes
			out, text = append(out, text[:2]...), text[2:]
		}
	}
	return append(out, text...)
}
