package edge

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"offsite/devices"
	"offsite/devices/state"
	"offsite/edge/audit"
	"offsite/edge/intake"
	"offsite/edge/ledger"
	"offsite/edge/notice"
	"offsite/streams/recording"
)

// What people are told of the machine itself.
const (
	machineEvery = 5 * time.Second
	diskWarn     = 0.80 // of the disk of the state; what follows is told by those who do it: see decisions.md, "Evidence goes after three years"
	diskEased    = 0.78
	clockTold    = 24 * time.Hour // after the clock was set
)

// watchMachine looks after the disk's filling and the clock until ctx ends.
func (b *Box) watchMachine(ctx context.Context) error {
	tick := time.NewTicker(machineEvery)
	defer tick.Stop()
	for {
		b.lookAtDisk(recording.DiskUsed(b.cfg.State))
		if at := b.clockSet.Load(); at != nil && time.Since(*at) > clockTold {
			b.notices.Set(notice.Clock, nil)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// lookAtDisk warns of a disk that fills up, before anything suffers.
func (b *Box) lookAtDisk(used float64, err error) {
	held := b.notices.Why(notice.Disk) != nil
	switch {
	case err != nil: // those who write will say so
	case used >= diskWarn:
		b.notices.Set(notice.Disk, &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "disk_filling",
			ZH: fmt.Sprintf("数据磁盘已用 %.0f%%；继续增长将依次删除过期文件和最旧录像、停止录像、提前删除证据、最后停止接收读数；请清理或扩充磁盘", 100*used),
			EN: fmt.Sprintf("the disk of the state is filled to %.0f%%; if it fills on, what has expired goes, then the oldest recordings, recording stops, evidence goes before its time and at last readings are refused; free some space or give it a larger disk", 100*used),
		})
		if !held {
			b.logger.Warn("the disk fills up", "used", used)
		}
	case held && used < diskEased:
		b.notices.Set(notice.Disk, nil)
		b.logger.Info("the disk has room again", "used", used)
	}
}

// watchClock keeps receipts in order while the clock is set, and tells of it.
func (b *Box) watchClock(ctx context.Context) error {
	return b.Pipeline.Watch(ctx, intake.NewClock(intake.MachineClock()), func(step time.Duration) { b.clockStepped(ctx, step, time.Now()) })
}

// clockStepped tells everybody that the gateway's clock was set: whoever reads times of
// these minutes must know it.
func (b *Box) clockStepped(ctx context.Context, step time.Duration, now time.Time) {
	p := &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "clock_set_forward",
		ZH: fmt.Sprintf("网关时钟被拨快 %v（或主机曾休眠），其间没有读数；若非有意，请检查授时", step.Round(time.Second/10)),
		EN: fmt.Sprintf("the gateway's clock was set forward by %v, or the machine slept: there are no readings in between; if nobody meant it, check what sets the clock", step.Round(time.Second/10)),
	}
	from := now.Add(-step)
	if step < 0 {
		p.Code = "clock_set_back"
		p.ZH = fmt.Sprintf("网关时钟被拨慢 %v；由网关给出时间的读数继续顺延、逐步与新时间重合，判定不受影响；若非有意，请检查授时", -step.Round(time.Second/10))
		p.EN = fmt.Sprintf("the gateway's clock was set back by %v; readings that the gateway stamps go on in order and are led to the new time by and by, and are judged as always; if nobody meant it, check what sets the clock", -step.Round(time.Second/10))
		from = now
	}
	b.logger.WarnContext(ctx, "the clock was set", "step", step)
	b.clockSet.Store(&now)
	b.notices.Set(notice.Clock, p)
	b.clerk.Tell(ledger.Loss{Kind: ledger.LossClock, Subject: ledger.Gateway, Why: p, From: from, To: from.Add(step.Abs()), Count: 1})
	err := b.DB.Update(ctx, func(tx *sql.Tx) error {
		return b.Audit.Append(ctx, tx, audit.Entry{At: now.UTC(), Who: audit.Gateway, Act: "clock.step", What: "gateway", Result: "ok", Detail: step.String()})
	})
	if err != nil {
		b.logger.ErrorContext(ctx, "step of the clock is not in the trail", "err", err)
	}
}

// tellRestored tells everybody that the database was damaged or gone, and what is gone
// with it.
func (b *Box) tellRestored(ctx context.Context, now time.Time) error {
	r := b.DB.Restored()
	if r == nil {
		return nil
	}
	p, was := restored(r), "damaged: "+r.Aside
	if r.Aside == "" {
		was = "gone, as shown by " + r.Trace
	}
	b.notices.Set(notice.State, p)
	return b.DB.Update(ctx, func(tx *sql.Tx) error {
		if err := ledger.Put(ctx, tx, ledger.Loss{Kind: ledger.LossState, Subject: ledger.Gateway, Why: p, From: r.Of, To: now, Count: 1, Detail: r.Aside}); err != nil {
			return err
		}
		b.DB.AfterCommit(tx, func() { b.Ledger.Count(ledger.LossState, 1) })
		err := b.Audit.Append(ctx, tx, audit.Entry{
			At: now.UTC(), Who: audit.Gateway, Act: "state.restored", What: "gateway", Result: "ok", Detail: "backup of " + r.Of.Format(time.RFC3339) + ", " + was,
		})
		if err != nil {
			return err
		}
		return b.DB.Told(ctx, tx)
	})
}

// restored says of a backup that took the database's place why it did, and what is
// missing now.
func restored(r *state.Restored) *devices.Problem {
	of := r.Of.In(devices.Beijing).Format("2006-01-02 15:04")
	whyZH, whyEN := "数据库曾丢失", "the database was gone"
	cureZH, cureEN := "请查明它因何丢失", "find out what removed it"
	if r.Aside != "" {
		whyZH, whyEN = "数据库已损坏", "the database was damaged"
		cureZH, cureEN = "损坏文件保留在 "+r.Aside+"，请检查磁盘", "the damaged file is kept as "+r.Aside+"; check the disk"
	}
	p := &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "state_restored",
		ZH: fmt.Sprintf("%s，已自动恢复 %s（北京时间）的备份；此后的登记、处置记录、账号与令牌变更已丢失，请逐项核对；读数不受影响；%s", whyZH, of, cureZH),
		EN: fmt.Sprintf("%s and the backup of %s (Beijing time) took its place; what was registered, acknowledged or changed of accounts and tokens since then is gone: look it through; readings are not affected; %s", whyEN, of, cureEN),
	}
	if r.Cause != "" {
		p.Cause = errors.New(r.Cause)
	}
	return p
}
