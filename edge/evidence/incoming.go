package evidence

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"

	"offsite/devices"
)

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
	err = errors.Join(i.file.Sync(), i.file.Close())
	i.file = nil
	if err == nil {
		err = i.vault.root.Rename(i.name, sha)
	}
	if err != nil {
		return "", 0, storageProblem(errors.Join(err, i.vault.root.Remove(i.name)))
	}
	if err := i.vault.syncDir(); err != nil {
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
