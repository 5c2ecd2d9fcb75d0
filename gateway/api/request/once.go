package request

import (
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/edge/audit"
)

// oneViewing is within which the same person's asking for the same video is one act.
const oneViewing = 10 * time.Minute

// Once writes into the trail who views a video, once for all the requests of a
// player, which asks for it in many parts.
type Once struct {
	desk *Desk

	mu   sync.Mutex
	told map[string]time.Time
}

// NewOnce makes one that writes into the trail of d.
func NewOnce(d *Desk) *Once { return &Once{desk: d, told: map[string]time.Time{}} }

// Record writes e unless it is one act with an earlier one.
func (o *Once) Record(c echo.Context, e audit.Entry) error {
	now := time.Now()
	viewing := strings.Join([]string{Who(c).ID, e.What, e.Detail}, " ")
	if !o.fresh(viewing, now) {
		return nil
	}
	if err := o.desk.Record(c, e); err != nil {
		return err
	}
	o.note(viewing, now)
	return nil
}

// fresh says whether this viewing is not one act with an earlier one.
func (o *Once) fresh(viewing string, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	at, told := o.told[viewing]
	return !told || now.Sub(at) >= oneViewing
}

// note remembers that a viewing is in the trail.
func (o *Once) note(viewing string, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for v, at := range o.told {
		if now.Sub(at) >= oneViewing {
			delete(o.told, v)
		}
	}
	o.told[viewing] = now
}
