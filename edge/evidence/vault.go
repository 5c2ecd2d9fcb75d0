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
	"syscall"

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
	root *os.Root
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
	v := &Vault{root: root}
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
// return the file survives a power cut. The same data twice is one file, and a
// file that was damaged is made good. Problems have the codes
// evidence_too_large, disk_full, disk_error.
func (v *Vault) Put(data []byte) (string, error) {
	if len(data) > LargestFile {
		return "", devices.Invalid("", "evidence_too_large", "证据文件超过 64 MiB，无法保存", "an evidence file may have 64 MiB at most")
	}
	sum := sha256.Sum256(data)
	name := hex.EncodeToString(sum[:])
	if f, err := v.Open(name); err == nil {
		// A crash may have come between its rename and the directory's fsync.
		if err := errors.Join(f.Sync(), f.Close(), v.syncDir()); err != nil {
			return "", storageProblem(err)
		}
		return name, nil
	}
	temporary := incoming + rand.Text()
	if err := v.write(temporary, data); err != nil {
		_ = v.root.Remove(temporary) // the first error is the one to tell
		return "", storageProblem(err)
	}
	err := v.root.Rename(temporary, name)
	if err == nil {
		err = v.syncDir()
	}
	if err != nil {
		return "", storageProblem(err)
	}
	return name, nil
}

func (v *Vault) write(name string, data []byte) error {
	f, err := v.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDir makes the names in the vault durable.
func (v *Vault) syncDir() error {
	dir, err := v.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
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
