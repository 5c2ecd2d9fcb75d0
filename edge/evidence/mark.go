package evidence

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"time"
)

// burn puts copies with a watermark into the vault, one for each event of the
// part, and gives their hashes by event.
func (c *Collector) burn(ctx context.Context, part []wanted, out outcome) map[string]string {
	if out.picture == nil {
		return nil
	}
	marked := map[string]string{}
	for _, w := range part {
		if marked[w.event] != "" {
			continue
		}
		s := c.about(ctx, w.event)
		line := fmt.Sprintf("%s %s %s %s", s.Site, w.camera, out.captured.In(beijing).Format(time.RFC3339), w.event)
		copied, err := stamp(out.picture, line)
		if err == nil {
			marked[w.event], err = c.vault.Put(copied)
		}
		if err != nil {
			c.cfg.Log.WarnContext(ctx, "still without its marked copy", "event", w.event, "camera", w.camera, "err", err)
		}
	}
	return marked
}

// stamp gives a copy of a JPEG with a line of ASCII in white on a dark band at its
// lower edge, as large as the width allows.
func stamp(picture []byte, line string) ([]byte, error) {
	img, err := jpeg.Decode(bytes.NewReader(picture))
	if err != nil {
		return nil, fmt.Errorf("mark still: %w", err)
	}
	b := img.Bounds()
	out := image.NewRGBA(b)
	draw.Draw(out, b, img, b.Min, draw.Src)
	scale := max(1, min(4, (b.Dx()-4)/(6*max(1, len(line)))))
	band := image.Rect(b.Min.X, b.Max.Y-11*scale, b.Max.X, b.Max.Y)
	draw.Draw(out, band, image.NewUniform(color.RGBA{A: 0xa0}), image.Point{}, draw.Over)
	at := image.Pt(b.Min.X+2*scale, b.Max.Y-9*scale)
	for _, char := range []byte(line) {
		dots(out, at, scale, char)
		at.X += 6 * scale
	}
	var data bytes.Buffer
	if err := jpeg.Encode(&data, out, &jpeg.Options{Quality: 90}); err != nil {
		return nil, fmt.Errorf("mark still: %w", err)
	}
	return data.Bytes(), nil
}

// dots draws one character.
func dots(out *image.RGBA, at image.Point, scale int, char byte) {
	for column, bits := range glyph(char) {
		for row := range 7 {
			if bits>>row&1 == 1 {
				corner := at.Add(image.Pt(column*scale, row*scale))
				draw.Draw(out, image.Rectangle{corner, corner.Add(image.Pt(scale, scale))}, image.White, image.Point{}, draw.Src)
			}
		}
	}
}
