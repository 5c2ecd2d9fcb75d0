package footage

import (
	"fmt"
	"strings"
	"time"

	"offsite/devices"
)

// Manifest says what was taken out: which part is whose, by whose clock, and what
// is missing. It is written as JSON.
type Manifest struct {
	Format     string    `json:"format"` // offsite-footage
	Version    int       `json:"version"`
	ID         string    `json:"id"`
	Camera     string    `json:"camera"`
	CameraName string    `json:"camera_name,omitempty"`
	Asked      Span      `json:"asked"`
	MadeAt     time.Time `json:"made_at"` // by the gateway's clock
	Gateway    Gateway   `json:"gateway"`
	Parts      []Piece   `json:"parts"` // by time, each of one source
	Gaps       []Lack    `json:"gaps"`
	ZH         string    `json:"zh"` // what whoever reads it must know
	EN         string    `json:"en"`
}

// Gateway is who has written a manifest.
type Gateway struct {
	Version string `json:"version"`
	AheadMS *int64 `json:"platform_ahead_ms,omitempty"` // that the platform's clock is ahead of the gateway's; absent: not known
}

// Piece is one part: a file of one source.
type Piece struct {
	Name      string    `json:"name"`
	Source    Source    `json:"source"`
	From      time.Time `json:"from"` // of its first picture, a key frame, by Clock
	To        time.Time `json:"to"`
	Asked     Span      `json:"asked"` // of this source
	Bytes     int64     `json:"bytes"`
	SHA256    string    `json:"sha256"`
	MediaType string    `json:"media_type"`
	Codec     string    `json:"codec"`
	Width     int       `json:"width"`
	Height    int       `json:"height"`
	Clock     Clock     `json:"clock"`
	Instead   *Word     `json:"instead,omitempty"` // a recorder's: why the gateway has none of its own
	Cut       *Word     `json:"cut,omitempty"`     // why its end is missing
	Holes     []Span    `json:"holes,omitempty"`   // of which nothing was recorded: the picture before stands
}

// Clock says by whose clock the times of a part are. Those of a recorder are by the gateway's as far
// as ShiftMS says: its own are that much more.
type Clock struct {
	Of      string    `json:"of"`                 // gateway or recorder
	Host    string    `json:"host,omitempty"`     // of the recorder
	AheadMS *int64    `json:"ahead_ms,omitempty"` // that the recorder's was ahead of the gateway's when this was fetched; absent: not known
	AskedAt time.Time `json:"asked_at,omitzero"`  // when ahead_ms was asked for, by the gateway's clock
	ShiftMS int64     `json:"shift_ms,omitempty"` // that from, to, asked and holes are less than by the recorder's clock; absent: they are its own
	Times   string    `json:"times,omitempty"`    // of a recorder: recorder, it told when each picture was taken, or asked: the first counts as taken at asked
	ZH      string    `json:"zh"`
	EN      string    `json:"en"`
}

// Lack is a time that no part has.
type Lack struct {
	Span
	Why      *Word `json:"why,omitempty"`      // that the gateway has none
	Recorder *Word `json:"recorder,omitempty"` // that its recorder has none; absent: it has none, or was not asked
}

// Word is a reason in both languages.
type Word struct {
	Code string `json:"code"`
	ZH   string `json:"zh"`
	EN   string `json:"en"`
}

func wordOf(p *devices.Problem) *Word {
	if p == nil {
		return nil
	}
	return &Word{p.Code, p.ZH, p.EN}
}

const (
	mediaType = "video/mp4"

	wordsZH = "每个文件只有一个来源，未经转码和拼接；文件从关键帧开始，可与相邻文件重叠。录像机的时刻按其时钟的偏差换算为网关时钟，换算了多少见各部分的 clock；偏差未知或无法采用的不作换算，与网关的时刻不能直接比较。哈希为各文件全部字节的 SHA-256。"
	wordsEN = "Each file is of one source, neither transcoded nor joined; it begins with a key frame and may overlap its neighbour. Times of a recorder are shifted to the gateway's clock by what its own was ahead: the clock of each part says by how much. Where that is not known or cannot be meant they are unshifted and cannot be compared with the gateway's as they are. Hashes are the SHA-256 of all bytes of a file."
)

func (f *Footage) manifest(o Order, parts []part, gaps []Gap) Manifest {
	m := Manifest{
		Format: "offsite-footage", Version: 2, ID: newID(), Camera: o.Camera, CameraName: f.cfg.Name(o.Camera), Asked: Span{o.From.UTC(), o.To.UTC()},
		MadeAt: time.Now().UTC().Truncate(time.Millisecond), Gateway: Gateway{Version: f.cfg.Version, AheadMS: milliseconds(f.cfg.Platform())}, Parts: []Piece{}, Gaps: []Lack{}, ZH: wordsZH, EN: wordsEN,
	}
	for i, p := range parts {
		m.Parts = append(m.Parts, p.piece(i+1))
	}
	for _, g := range gaps {
		m.Gaps = append(m.Gaps, Lack{Span{g.From.UTC(), g.To.UTC()}, wordOf(g.Why), wordOf(g.Recorder)})
	}
	return m
}

func milliseconds(d *time.Duration) *int64 {
	if d == nil {
		return nil
	}
	ms := d.Milliseconds()
	return &ms
}

// piece describes the part of this number.
func (p *part) piece(number int) Piece {
	c := p.clip
	piece := Piece{
		Name: pieceName(p, number), Source: p.source, From: c.From.UTC(), To: c.To.UTC(), Asked: Span{p.From.UTC(), p.To.UTC()}, Bytes: c.Size, SHA256: p.taken.SHA256,
		MediaType: mediaType, Codec: string(c.Codec), Width: c.Width, Height: c.Height, Holes: holesOf(c),
		Clock: Clock{Of: "gateway", ZH: "时刻为网关时钟", EN: "times are those of the gateway's clock"},
	}
	if p.fetched != nil {
		piece.Clock, piece.Instead, piece.Cut = p.fetched.clock(), wordOf(p.why), wordOf(p.fetched.Cut)
	}
	return piece
}

// clock says in words whose time it is.
func (c *Fetched) clock() Clock {
	zh, en := c.words()
	k := Clock{Of: "recorder", Host: c.Host, AheadMS: milliseconds(c.Offset), AskedAt: c.Asked, ShiftMS: c.Shift.Milliseconds(), Times: c.Times(), ZH: zh, EN: en}
	k.ZH += "，录制当时的偏差无从得知"
	k.EN += ", how far it was off when it recorded nobody knows"
	if !c.Stamped {
		k.ZH += "；录像机未给出各画面的拍摄时刻，首个画面按所请求的起始时刻计，可能相差一个画面组"
		k.EN += "; the recorder did not tell when each picture was taken, the first counts as taken at the beginning asked for and may be a group of pictures off"
	}
	return k
}

// words says how far the clock was off, and what was made of it.
func (s *Skew) words() (zh, en string) {
	if s.Offset == nil {
		return "时刻为录像机时钟，未作换算；取得时其偏差未知", "times are those of the recorder's clock, unshifted; how far it was off when this was fetched is not known"
	}
	word, says := "快", "ahead of"
	if *s.Offset < 0 {
		word, says = "慢", "behind"
	}
	at := s.Asked.In(devices.Beijing).Format("2006-01-02 15:04:05")
	zh = fmt.Sprintf("北京时间 %s 测得它比网关时钟%s %.1f 秒", at, word, s.Offset.Abs().Seconds())
	en = fmt.Sprintf("at %s (Beijing time) it was %.1f s %s the gateway's", at, s.Offset.Abs().Seconds(), says)
	if s.Shift == 0 {
		return "时刻为录像机时钟，未作换算；" + zh, "times are those of the recorder's clock, unshifted; " + en
	}
	return "时刻已由录像机时钟换算为网关时钟；" + zh, "times of the recorder are shifted to the gateway's clock by that much; " + en
}

// Times says where the times of pictures come from: the recorder told them, or they
// count from what was asked for.
func (c *Fetched) Times() string {
	if c.Stamped {
		return "recorder"
	}
	return "asked"
}

const form = "20060102T150405Z" // of times in names

// Name is that of the file of all.
func (m *Manifest) Name() string {
	return strings.Join([]string{m.Camera, m.Asked.From.Format(form), m.Asked.To.Format(form)}, "_") + ".zip"
}

// pieceName names a part's file.
func pieceName(p *part, number int) string {
	return strings.Join([]string{p.clip.Camera, fmt.Sprintf("%02d", number), string(p.source), p.clip.From.UTC().Format(form), p.clip.To.UTC().Format(form)}, "_") + ".mp4"
}
