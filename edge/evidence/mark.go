package evidence

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	"time"

	"offsite/devices"
	"offsite/edge/evidence/lettering"
)

// words say of what a picture is: site, camera and time.
func (s Subject) words(camera string, at time.Time) []string {
	return []string{s.named(s.SiteName, s.Site), s.named(s.Cameras[camera], camera), at.In(devices.Beijing).Format("2006-01-02 15:04:05 -07:00")}
}

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
		copied, err := stamp(out.picture, append(c.about(ctx, w.event).words(w.camera, out.captured), w.event))
		if err == nil {
			marked[w.event], err = c.vault.Put(copied)
		}
		if err != nil {
			c.cfg.Log.WarnContext(ctx, "still without its marked copy", "event", w.event, "camera", w.camera, "err", err)
		}
	}
	return marked
}

// stamp gives a copy of a JPEG with words along its lower edge.
func stamp(picture []byte, words []string) ([]byte, error) {
	img, err := jpeg.Decode(bytes.NewReader(picture))
	if err != nil {
		return nil, fmt.Errorf("mark still: %w", err)
	}
	out := image.NewRGBA(img.Bounds())
	draw.Draw(out, out.Rect, img, out.Rect.Min, draw.Src)
	if err := lettering.Write(out, words); err != nil {
		return nil, fmt.Errorf("mark still: %w", err)
	}
	var data bytes.Buffer
	if err := jpeg.Encode(&data, out, &jpeg.Options{Quality: 90}); err != nil {
		return nil, fmt.Errorf("mark still: %w", err)
	}
	return data.Bytes(), nil
}
