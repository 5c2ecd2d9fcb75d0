package spool

import (
	"cmp"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"offsite/devices"
)

// patience is how long a write may stand still before devices are told. On a
// full disk Pebble v2.1.7 reports nothing: once its memtables cannot be
// flushed, a write waits inside it, and goes on by itself when there is space.
const patience = 5 * time.Second

// DiskRoom gives a Config.Room for the file system of dir: there is room as
// long as reserve bytes are left, so that neither the log nor what shares its
// disk ever meets its end. After that there is room again once an eighth more
// is free, so that devices are not let in and sent away by turns. A reserve of
// 0 means a twentieth of the disk, at least 64 MiB and at most 1 GiB.
func DiskRoom(dir string, reserve int64) func() error {
	var short atomic.Bool
	return func() error {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			return nil // what cannot be measured must not stop the recording
		}
		least := reserve
		if least == 0 {
			least = min(max(int64(st.Blocks)*st.Bsize/20, 64<<20), 1<<30)
		}
		if short.Load() {
			least += least / 8
		}
		left := int64(st.Bavail) * st.Bsize
		short.Store(left < least)
		if left < least {
			return storageFailed(fmt.Errorf("%d MiB left in %s, %d are kept in reserve: %w", left>>20, dir, least>>20, syscall.ENOSPC))
		}
		return nil
	}
}

// checkRoom asks Room and keeps the answer for Append.
func (l *Log) checkRoom() {
	err := l.cfg.Room()
	l.mu.Lock()
	changed := (err == nil) != (l.full == nil)
	l.full = err
	l.mu.Unlock()
	switch {
	case changed && err != nil:
		l.cfg.Log.Error("no readings are taken", "err", err)
	case changed:
		l.cfg.Log.Info("readings are taken again")
	}
}

// Refusing tells why Append takes nothing now; nil while it does.
func (l *Log) Refusing() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return cmp.Or(l.err, l.stuck, l.full)
}

// checkStuck tells the devices when a write stands still. Their records stay
// in the queue: they are written once the disk moves again, and what the
// devices send once more by then is known as a repeat.
func (l *Log) checkStuck() {
	for {
		l.mu.Lock()
		if l.writing == nil || time.Since(l.since) < l.patience || l.stuck != nil {
			l.mu.Unlock()
			return
		}
		waiters := l.writing.waiters
		l.writing.waiters = nil
		for _, g := range l.queue {
			waiters = append(waiters, g.waiters...)
			g.waiters = nil
		}
		if len(waiters) == 0 {
			l.stuck = errStuck
			l.mu.Unlock()
			l.cfg.Log.Error("a write to the disk stands still; no readings are taken", "took", l.patience)
			return
		}
		l.mu.Unlock()
		for _, w := range waiters {
			w.call(errStuck)
		}
	}
}

// call tells a waiter how its record fared, or why it was refused before that.
func (w waiter) call(err error) {
	if w.err != nil {
		err = w.err
	}
	w.done(err)
}

var errStuck = &devices.Problem{
	Kind: devices.ErrUnavailable, Code: "disk_stuck",
	ZH: "磁盘写入停滞，停止接收数据；请检查磁盘空间和磁盘状态，之后自动恢复", EN: "the disk takes no writes, so no readings are taken; check its free space and its health, it goes on by itself",
}

var errTooSlow = &devices.Problem{
	Kind: devices.ErrUnavailable, Code: "disk_slow",
	ZH: "磁盘写入过慢，暂停接收数据；请检查磁盘", EN: "the disk does not keep up, readings are refused for now; check the disk",
}

var errEnded = &devices.Problem{
	Kind: devices.ErrUnavailable, Code: "closing",
	ZH: "网关正在停止，请稍后重发", EN: "the gateway is stopping; send again later",
}

// storageFailed makes a storage error one that a person can act on.
func storageFailed(err error) *devices.Problem {
	if errors.Is(err, syscall.ENOSPC) {
		return &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "disk_full",
			ZH: "磁盘已满，停止接收数据；请清理磁盘空间，之后自动恢复", EN: "the disk is full, no readings are taken; free some space and it goes on by itself", Cause: err,
		}
	}
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "storage_failed",
		ZH: "写入磁盘失败，停止接收数据；请检查磁盘，恢复后自动继续", EN: "writing to the disk failed, no readings are taken; check the disk, it goes on by itself", Cause: err,
	}
}
