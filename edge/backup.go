package edge

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/edge/ledger"
	"offsite/edge/notice"
)

// backupEvery is how much of the state a damaged database may cost. A backup of
// 100 MB each six hours writes 0.4 GB a day, which flash bears for years.
const backupEvery = 6 * time.Hour

// backUp keeps a backup of the state that is not too old until ctx ends.
func (b *Box) backUp(ctx context.Context) error {
	for {
		rest := backupDue(b.DB.BackedUp(), time.Now())
		if rest == 0 {
			if err := b.DB.Backup(ctx); err != nil {
				return err
			}
			continue
		}
		select {
		case <-time.After(rest):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// backupDue says when the next backup is due. A clock that was set back leaves one of
// the future.
func backupDue(last, now time.Time) time.Duration {
	return min(max(backupEvery-now.Sub(last), 0), backupEvery)
}

// tellRestored tells everybody that the database was damaged and what is gone with it.
func (b *Box) tellRestored(ctx context.Context, now time.Time) error {
	r := b.DB.Restored()
	if r == nil {
		return nil
	}
	of := r.Of.In(devices.Beijing).Format("2006-01-02 15:04")
	p := &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "state_restored", Cause: r.Cause,
		ZH: fmt.Sprintf("数据库已损坏，已自动恢复 %s（北京时间）的备份；此后的登记、处置记录、账号与令牌变更已丢失，请逐项核对；读数不受影响；损坏文件保留在 %s，请检查磁盘", of, r.Aside),
		EN: fmt.Sprintf("the database was damaged and the backup of %s (Beijing time) took its place; what was registered, acknowledged or changed of accounts and tokens since then is gone: look it through; readings are not affected; the damaged file is kept as %s; check the disk", of, r.Aside),
	}
	b.notices.Set(notice.State, p)
	return b.DB.Update(ctx, func(tx *sql.Tx) error {
		if err := ledger.Put(ctx, tx, ledger.Loss{Kind: ledger.LossState, Subject: ledger.Gateway, Why: p, From: r.Of, To: now, Count: 1, Detail: r.Aside}); err != nil {
			return err
		}
		b.DB.AfterCommit(tx, func() { b.Ledger.Count(ledger.LossState, 1) })
		return b.Audit.Append(ctx, tx, audit.Entry{
			At: now.UTC(), Who: audit.Gateway, Act: "state.restored", What: "gateway", Result: "ok", Detail: "backup of " + r.Of.Format(time.RFC3339) + ", damaged: " + r.Aside,
		})
	})
}
