package state

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"offsite/devices"
)

func noDirectory() *devices.Problem {
	return devices.Invalid("dir", "missing", "请填写数据目录", "name the directory that holds the state")
}

func stateClosed() *devices.Problem {
	return &devices.Problem{Kind: devices.ErrUnavailable, Code: "state_closed", ZH: "数据库已关闭，网关正在停止", EN: "the database is closed; the gateway is stopping"}
}

// primaryCode is SQLite's primary result code of err, 0 if it has none.
func primaryCode(err error) int {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return sqlite3.SQLITE_OK
	}
	return e.Code() & 0xff
}

// storageProblem turns an error of the storage itself into a Problem and
// leaves every other error as it is.
func storageProblem(err error) error {
	switch primaryCode(err) {
	case sqlite3.SQLITE_FULL:
		return diskFull(err)
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY:
		return diskError(err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "state_busy", Cause: err,
			ZH: "数据库被其他程序占用，请关闭打开 offsite.db 的程序后重试", EN: "another program holds the database; close whatever has offsite.db open and try again",
		}
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "state_damaged", Cause: err,
			ZH: "数据库文件已损坏，请重新启动网关以检查并隔离", EN: "the database file is damaged; restart the gateway, which checks it and moves it aside",
		}
	default:
		return err
	}
}

// notCommitted is what a whole group is told when its commit failed.
func notCommitted(err error) error {
	var p *devices.Problem
	if errors.As(storageProblem(err), &p) {
		return p
	}
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "state_not_committed", Cause: err,
		ZH: "数据库提交未确认，结果可能已保存，请核对后重试", EN: "the database did not confirm the commit; it may have been stored all the same; look and try again",
	}
}

func diskFull(err error) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "disk_full", Cause: err,
		ZH: "磁盘已满，无法保存；请清理数据目录所在磁盘，恢复空间后自动继续", EN: "the disk is full and nothing can be stored; free space on the disk of the state directory, work then goes on by itself",
	}
}

func diskError(err error) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "disk_error", Cause: err,
		ZH: "磁盘读写出错，请检查数据目录的磁盘和权限", EN: "the disk cannot be read or written; check the disk and the permissions of the state directory",
	}
}

// diskProblem tells why path could not be made, read or written.
func diskProblem(path string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return diskFull(err)
	case errors.Is(err, syscall.EROFS):
		return &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "disk_read_only", Cause: err,
			ZH: fmt.Sprintf("%s 所在的磁盘为只读；请检查磁盘是否出错，重新以可写方式挂载，或更换状态目录", path),
			EN: fmt.Sprintf("the disk of %s is read-only; see whether the disk has failed, mount it writable again, or choose another state directory", path),
		}
	case errors.Is(err, syscall.ENOTDIR):
		return &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "not_a_directory", Cause: err,
			ZH: fmt.Sprintf("%s 或其上级是文件，不是目录；请更换状态目录", path),
			EN: fmt.Sprintf("%s, or what it lies in, is a file and no directory; choose another state directory", path),
		}
	case errors.Is(err, fs.ErrPermission):
		return &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "no_permission", Cause: err,
			ZH: fmt.Sprintf("没有读写 %s 的权限，请更改其属主或权限", path), EN: fmt.Sprintf("%s may not be read or written; change its owner or mode", path),
		}
	default:
		return diskError(fmt.Errorf("%s: %w", path, err))
	}
}
