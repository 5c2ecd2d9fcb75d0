package recording

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"sort"
)

// Reader reads a clip. It is an [io.ReadSeekCloser] for one goroutine and holds
// one file open at a time.
type Reader struct {
	clip *Clip
	at   int64
	file *os.File
	open int // of Clip.files, where file is not nil
}

// Open gives a reader of the clip; close it. A segment that is deleted while it
// is read ends the reading with an error.
func (c *Clip) Open() *Reader { return &Reader{clip: c} }

// Read is that of [io.Reader].
func (r *Reader) Read(b []byte) (int, error) {
	c := r.clip
	switch {
	case r.at >= c.Size:
		return 0, io.EOF
	case r.at < int64(len(c.head)):
		n := copy(b, c.head[r.at:])
		r.at += int64(n)
		return n, nil
	}
	p := c.parts[sort.Search(len(c.parts), func(i int) bool { return c.parts[i].begin > r.at })-1]
	if err := r.turn(p.file); err != nil {
		return 0, storageProblem(err)
	}
	into := r.at - p.begin
	n, err := r.file.ReadAt(b[:min(int64(len(b)), p.length-into)], p.offset+into)
	r.at += int64(n)
	if err != nil {
		return n, storageProblem(errors.Join(err, io.ErrUnexpectedEOF))
	}
	return n, nil
}

// turn opens the file of this number.
func (r *Reader) turn(file int) error {
	if r.file != nil && r.open == file {
		return nil
	}
	if err := r.Close(); err != nil {
		return err
	}
	f, err := r.clip.archive.open(r.clip.files[file])
	if err != nil {
		return err
	}
	r.file, r.open = f, file
	return nil
}

// Seek is that of [io.Seeker].
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.clip.Size
	}
	if offset < 0 {
		return r.at, errors.New("seek before the beginning of a clip")
	}
	r.at = offset
	return offset, nil
}

// Close closes the file that is open.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	f := r.file
	r.file = nil
	return f.Close()
}

// SHA256 reads the clip through and gives its hash in lower-case hexadecimal.
func (c *Clip) SHA256(ctx context.Context) (string, error) {
	in := c.Open()
	defer func() { _ = in.Close() }() // only read
	sum, room := sha256.New(), make([]byte, 256<<10)
	for {
		n, err := in.Read(room)
		sum.Write(room[:n])
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(sum.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
	}
}
