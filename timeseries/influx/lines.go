package influx

import (
	"strconv"
	"strings"

	"offsite/devices"
	"offsite/timeseries"
)

// batch is the lines of one request, with where each came from.
type batch struct {
	text  []byte
	lines []line
	tags  map[timeseries.Series]string // measurement and tags, encoded
}

type line struct {
	start, end int // in text, with its newline
	seq        uint64
	reading    *devices.Reading
}

// maxTags bounds the encoded tags that are remembered.
const maxTags = 100_000

func (b *batch) reset() { b.text, b.lines = b.text[:0], b.lines[:0] }

func (b *batch) add(seq uint64, r *devices.Reading) {
	key := timeseries.Series{Site: r.Site, Point: r.Point}
	tags, ok := b.tags[key]
	if !ok {
		if len(b.tags) >= maxTags {
			clear(b.tags)
		}
		tags = encodeTags(key)
		b.tags[key] = tags
	}
	start := len(b.text)
	b.text = append(b.text, tags...)
	b.text = append(b.text, " v="...)
	b.text = strconv.AppendFloat(b.text, r.Value, 'g', -1, 64)
	b.text = append(b.text, ",q="...)
	b.text = strconv.AppendUint(b.text, uint64(r.Quality), 10)
	b.text = append(b.text, "i "...)
	b.text = strconv.AppendInt(b.text, r.At.UnixMilli(), 10)
	b.text = append(b.text, '\n')
	b.lines = append(b.lines, line{start: start, end: len(b.text), seq: seq, reading: r})
}

// body is the text of lines [i, j), without the last newline.
func (b *batch) body(i, j int) string { return string(b.text[b.lines[i].start : b.lines[j-1].end-1]) }

func encodeTags(key timeseries.Series) string {
	outlet, point := devices.SplitPoint(key.Point)
	return "reading,site=" + escapeTag(key.Site) + ",outlet=" + escapeTag(outlet) + ",point=" + escapeTag(point)
}

// tagEscapes are those of line protocol. A backslash escapes only these
// characters, and a line break ends the line however it is escaped.
var tagEscapes = strings.NewReplacer(",", `\,`, "=", `\=`, " ", `\ `)

// unspeakable says that a tag cannot be written so that it reads back the same.
func unspeakable(tag string) bool {
	return strings.ContainsAny(tag, "\n\r\t") || strings.HasSuffix(tag, `\`) || strings.Contains(tag, `\,`) || strings.Contains(tag, `\=`) || strings.Contains(tag, `\ `)
}

func escapeTag(tag string) string { return tagEscapes.Replace(tag) }

// quoteString is a string literal of InfluxQL.
func quoteString(s string) string { return "'" + stringEscapes.Replace(s) + "'" }

var stringEscapes = strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`)
