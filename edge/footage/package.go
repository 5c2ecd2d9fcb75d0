package footage

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"offsite/devices"
	"offsite/streams/recording"
)

func insertExport(ctx context.Context, tx *sql.Tx, e *Export) error {
	now := time.Now()
	_, err := tx.ExecContext(ctx, `DELETE FROM footage_exports WHERE until_ms <= ?`, now.UnixMilli())
	if err == nil {
		_, err = tx.ExecContext(ctx, `INSERT INTO footage_exports (id, camera, sha256, manifest, until_ms) VALUES (?, ?, ?, ?, ?)`, e.ID, e.Camera, e.SHA256, e.Raw, now.Add(keepExports).UnixMilli())
	}
	if err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	return nil
}

func noExport() *devices.Problem {
	return &devices.Problem{Kind: devices.ErrNotFound, Code: "no_export", ZH: "没有这份导出，或已过保存期", EN: "there is no such export, or it is kept no longer"}
}

// Package is an interval that was taken out, as one file.
type Package struct {
	Manifest
	raw   []byte
	parts []*recording.Clip
}

// Package gives an interval of a camera that was taken out, by its id, while it is
// held; else ErrNotFound.
func (f *Footage) Package(ctx context.Context, camera, id string) (*Package, error) {
	p := &Package{}
	err := f.db.Read().QueryRowContext(ctx, `SELECT manifest FROM footage_exports WHERE id = ? AND camera = ?`, id, camera).Scan(&p.raw)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, noExport()
	}
	if err == nil {
		err = json.Unmarshal(p.raw, &p.Manifest)
	}
	if err != nil {
		return nil, fmt.Errorf("read export: %w", err)
	}
	for _, piece := range p.Parts {
		c, err := f.exported(ctx, piece.Source, piece.SHA256)
		if err != nil {
			return nil, fmt.Errorf("export %s: %w", id, err)
		}
		p.parts = append(p.parts, c)
	}
	return p, nil
}

func (f *Footage) exported(ctx context.Context, source Source, sha256 string) (*recording.Clip, error) {
	if source == Own {
		return f.cfg.Own.Exported(ctx, sha256)
	}
	return f.cfg.Recorders.Exported(ctx, sha256)
}

// Bytes is about the size of the package.
func (p *Package) Bytes() int64 {
	size := int64(len(p.raw))
	for _, piece := range p.Parts {
		size += piece.Bytes
	}
	return size
}

// Write writes the package as ZIP, not compressed. The same export gives the same bytes.
func (p *Package) Write(ctx context.Context, to io.Writer) error {
	z := zip.NewWriter(to)
	sum := sha256.Sum256(p.raw)
	sums := hex.EncodeToString(sum[:]) + "  manifest.json\n"
	for _, piece := range p.Parts {
		sums += piece.SHA256 + "  " + piece.Name + "\n"
	}
	err := p.put(ctx, z, "manifest.json", bytes.NewReader(p.raw))
	if err == nil {
		err = p.put(ctx, z, "SHA256SUMS", strings.NewReader(sums))
	}
	if err != nil {
		return err
	}
	for i, c := range p.parts {
		in := c.Open()
		err := errors.Join(p.put(ctx, z, p.Parts[i].Name, in), in.Close())
		if err != nil {
			return err
		}
	}
	return z.Close()
}

func (p *Package) put(ctx context.Context, z *zip.Writer, name string, from io.Reader) error {
	w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store, Modified: p.MadeAt})
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if _, err := io.Copy(w, whileIn{ctx, from}); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// whileIn reads until its context ends.
type whileIn struct {
	ctx  context.Context //nolint:containedctx // a Reader for the length of one call
	from io.Reader
}

func (r whileIn) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.from.Read(b)
}

// Blob is a file of an export.
type Blob struct {
	io.ReadCloser
	Size      int64
	MediaType string
}

// Blob opens a manifest or a part of what was taken out, by its hash; ErrNotFound
// where there is none.
func (f *Footage) Blob(ctx context.Context, sha256 string) (Blob, error) {
	var raw []byte
	err := f.db.Read().QueryRowContext(ctx, `SELECT manifest FROM footage_exports WHERE sha256 = ?`, sha256).Scan(&raw)
	if err == nil {
		return Blob{io.NopCloser(bytes.NewReader(raw)), int64(len(raw)), "application/json"}, nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return Blob{}, fmt.Errorf("find export: %w", err)
	}
	c, err := f.exported(ctx, Own, sha256)
	if errors.Is(err, devices.ErrNotFound) {
		c, err = f.exported(ctx, Recorder, sha256)
	}
	if err != nil {
		return Blob{}, err
	}
	return Blob{c.Open(), c.Size, mediaType}, nil
}
