package evidence

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"offsite/devices"
)

// LargestFile is the most that the vault takes in one file.
const LargestFile = 64 << 20

// incoming begins the names of files that are not whole yet.
const incoming = "incoming-"

// Kinds of files.
const (
	mediaJPEG = "image/jpeg"
	mediaMP4  = "video/mp4"
	mediaJSON = "application/json"
)

var hashPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Vault keeps files by their hash. It is safe for use by several goroutines.
type Vault struct {
	root  *os.Root
	fsync func(*os.File) error // File.Sync; tests have it fail

	// Held while a file gets its name, and while one is deleted that got it long ago: what
	// is put again is not deleted.
	naming sync.Mutex
}

// OpenVault opens dir, makes it where it is absent, and clears away what a
// power cut left half written.
func OpenVault(dir string) (*Vault, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, storageProblem(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, storageProblem(err)
	}
	v := &Vault{root: root, fsync: (*os.File).Sync}
	if err := v.clear(); err != nil {
		return nil, errors.Join(storageProblem(err), root.Close())
	}
	return v, nil
}

// Close gives the directory up.
func (v *Vault) Close() error { return v.root.Close() }

// clear removes files that were never named.
func (v *Vault) clear() error {
	dir, err := v.root.Open(".")
	if err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1)
	for _, name := range names {
		if strings.HasPrefix(name, incoming) {
			err = errors.Join(err, v.root.Remove(name))
		}
	}
	return errors.Join(err, dir.Close())
}

// Put keeps data, at most LargestFile bytes, and gives its SHA-256 in hex. At
// return the file survives a power cut. The same data twice is one file, written
// anew: whether the first one ever reached the disk, nobody can tell who has not
// seen its fsync, and one that was damaged is made good. Problems have the codes
// evidence_too_large, disk_full, disk_error.
func (v *Vault) Put(data []byte) (string, error) {
	if len(data) > LargestFile {
		return "", devices.Invalid("", "evidence_too_large", "证据文件超过 64 MiB，无法保存", "an evidence file may have 64 MiB at most")
	}
	sum := sha256.Sum256(data)
	name := hex.EncodeToString(sum[:])
	temporary := incoming + rand.Text()
	if err := v.write(temporary, data); err != nil {
		_ = v.root.Remove(temporary) // the first error is the one to tell
		return "", storageProblem(err)
	}
	if err := v.name(temporary, name); err != nil {
		return "", storageProblem(err)
	}
	return name, nil
}

// name gives a file that is whole and durable its name.
func (v *Vault) name(temporary, name string) error {
	v.naming.Lock()
	now := time.Now()
	err := errors.Join(v.root.Chtimes(temporary, now, now), v.root.Rename(temporary, name))
	v.naming.Unlock()
	if err != nil {
		return errors.Join(err, v.root.Remove(temporary))
	}
	return v.syncDir()
}

// remove deletes a file that was put last before a time; removed is false of all others.
func (v *Vault) remove(name string, before time.Time) (removed bool, err error) {
	v.naming.Lock()
	defer v.naming.Unlock()
	info, err := v.root.Stat(name)
	if errors.Is(err, os.ErrNotExist) || err == nil && !info.ModTime().Before(before) {
		return false, nil
	}
	if err == nil {
		err = v.root.Remove(name)
	}
	if err != nil {
		return false, storageProblem(err)
	}
	return true, nil
}

// listed is how many names a look into the directory gives at once.
const listed = 500

// older gives the files that were put last before a time, some at once, until see fails.
func (v *Vault) older(before time.Time, see func(names []string) error) error {
	dir, err := v.root.Open(".")
	if err != nil {
		return storageProblem(err)
	}
	defer func() { _ = dir.Close() }() // only read
	for {
		entries, err := dir.ReadDir(listed)
		var names []string
		for _, e := range entries {
			info, gone := e.Info()
			if gone == nil && hashPattern.MatchString(e.Name()) && info.Mode().IsRegular() && info.ModTime().Before(before) {
				names = append(names, e.Name())
			}
		}
		if len(names) > 0 {
			if err := see(names); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return storageProblem(err)
		}
	}
}

func (v *Vault) write(name string, data []byte) error {
	f, err := v.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, v.fsync(f), f.Close())
}

// syncDir makes the names in the vault durable.
func (v *Vault) syncDir() error {
	dir, err := v.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(v.fsync(dir), dir.Close())
}

// Open gives the file of the hash after checking its bytes against it. The
// caller closes it. It returns ErrNotFound when there is none and
// ErrUnavailable of code evidence_damaged when its bytes have changed.
func (v *Vault) Open(sha string) (*os.File, error) {
	if !hashPattern.MatchString(sha) {
		return nil, devices.Invalid("sha256", "bad_hash", "文件哈希须为 64 位小写十六进制", "write a SHA-256 as 64 lower-case hex digits")
	}
	f, err := v.root.Open(sha)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &devices.Problem{Kind: devices.ErrNotFound, Code: "evidence_not_found", Field: "sha256", ZH: "没有该哈希的证据文件", EN: "there is no evidence file of this hash"}
	}
	if err != nil {
		return nil, storageProblem(err)
	}
	if err := verify(f, sha); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// verify reads f through and goes back to its start.
func verify(f *os.File, sha string) error {
	info, err := f.Stat()
	if err != nil {
		return storageProblem(err)
	}
	if !info.Mode().IsRegular() || info.Size() > LargestFile {
		return damaged(sha)
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return storageProblem(err)
	}
	if hex.EncodeToString(h.Sum(nil)) != sha {
		return damaged(sha)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return storageProblem(err)
	}
	return nil
}

// MediaType tells by its first bytes what kind of file it is: image/jpeg,
// video/mp4, application/json, else application/octet-stream, also for one that is not there.
func (v *Vault) MediaType(sha string) string {
	const unknown = "application/octet-stream"
	if !hashPattern.MatchString(sha) {
		return unknown
	}
	f, err := v.root.Open(sha)
	if err != nil {
		return unknown
	}
	defer f.Close()
	head := make([]byte, 12)
	if _, err := io.ReadFull(f, head); err != nil {
		return unknown
	}
	switch {
	case bytes.HasPrefix(head, []byte{0xff, 0xd8, 0xff}):
		return mediaJPEG
	case bytes.Equal(head[4:8], []byte("ftyp")):
		return mediaMP4
	case head[0] == '{':
		return mediaJSON
	default:
		return unknown
	}
}

func damaged(sha string) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "evidence_damaged", Field: "sha256",
		ZH: fmt.Sprintf("证据文件 %.12s… 的内容与其哈希不符，已被改动或损坏，不能作为证据；请从备份恢复", sha),
		EN: fmt.Sprintf("evidence file %.12s… no longer matches its hash: it was altered or damaged and is no evidence; restore it from a backup", sha),
	}
}

func storageProblem(err error) *devices.Problem {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &devices.Problem{Kind: devices.ErrUnavailable, Code: "disk_full", ZH: "磁盘已满，证据未能保存；请清理磁盘", EN: "the disk is full, the evidence could not be kept; free some space", Cause: err}
	}
	return &devices.Problem{Kind: devices.ErrUnavailable, Code: "disk_error", ZH: "证据目录读写出错，请检查磁盘和权限", EN: "the evidence directory cannot be read or written; check disk and permissions", Cause: err}
}

// Incoming is a file of the vault that is being written and has no name yet.
// Call Abort when done with it; after Commit that does nothing.
type Incoming struct {
	vault *Vault
	file  *os.File // nil once committed or given up
	name  string
}

// Create begins a file of which not all is known yet.
func (v *Vault) Create() (*Incoming, error) {
	name := incoming + rand.Text()
	f, err := v.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, storageProblem(err)
	}
	return &Incoming{v, f, name}, nil
}

// Write writes at the current place.
func (i *Incoming) Write(p []byte) (int, error) {
	n, err := i.file.Write(p)
	if err != nil {
		return n, storageProblem(err)
	}
	return n, nil
}

// Seek goes to another place.
func (i *Incoming) Seek(offset int64, whence int) (int64, error) { return i.file.Seek(offset, whence) }

// Commit makes the file durable under its hash, as Put does, and gives it and the
// size in bytes.
func (i *Incoming) Commit() (sha string, size int64, err error) {
	h := sha256.New()
	if _, err = i.file.Seek(0, io.SeekStart); err == nil {
		size, err = io.Copy(h, i.file)
	}
	if err != nil {
		return "", 0, storageProblem(err)
	}
	if size > LargestFile {
		return "", 0, devices.Invalid("", "evidence_too_large", "证据文件超过 64 MiB，无法保存", "an evidence file may have 64 MiB at most")
	}
	sha = hex.EncodeToString(h.Sum(nil))
	err = errors.Join(i.vault.fsync(i.file), i.file.Close())
	i.file = nil
	if err != nil {
		return "", 0, storageProblem(errors.Join(err, i.vault.root.Remove(i.name)))
	}
	if err := i.vault.name(i.name, sha); err != nil {
		return "", 0, storageProblem(err)
	}
	return sha, size, nil
}

// Abort gives the file up.
func (i *Incoming) Abort() {
	if i.file == nil {
		return
	}
	_ = i.file.Close() // nothing of it is wanted any more
	_ = i.vault.root.Remove(i.name)
	i.file = nil
}
