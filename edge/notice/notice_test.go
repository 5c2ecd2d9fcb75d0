package notice

import (
	"testing"
	"time"

	"offsite/edge/yardtest"
)

func TestANoticeHoldsSinceItBegan(t *testing.T) {
	changes := 0
	c := NewBoard(func() { changes++ })
	c.Set(Storage, yardtest.Trouble("disk_full"))
	since := c.List()[0].Since
	c.Set(Storage, yardtest.Trouble("disk_slow"))
	if n := c.List()[0]; !n.Since.Equal(since) || n.Problem.Code != "disk_slow" || time.Since(since) > time.Minute {
		t.Errorf("holds %+v", n)
	}
	c.Set(Storage, nil)
	if len(c.List()) != 0 {
		t.Errorf("still holds %+v", c.List())
	}
	if changes != 3 {
		t.Errorf("%d changes were told, want 3", changes)
	}
}
