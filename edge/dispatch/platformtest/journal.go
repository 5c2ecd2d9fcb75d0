package platformtest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// restore opens the journal and lets its messages take effect again.
func (p *Platform) restore() error {
	if err := os.MkdirAll(filepath.Join(p.cfg.Dir, "blobs"), 0o700); err != nil {
		return fmt.Errorf("reference platform: %w", err)
	}
	path := filepath.Join(p.cfg.Dir, "accepted.jsonl")
	whole, err := p.replay(path)
	if err != nil {
		return fmt.Errorf("reference platform: %w", err)
	}
	if p.journal, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return fmt.Errorf("reference platform: %w", err)
	}
	if err := p.journal.Truncate(whole); err != nil {
		return fmt.Errorf("reference platform: %w", err)
	}
	return nil
}

// replay gives the length of the whole lines.
func (p *Platform) replay(path string) (whole int64, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return whole, nil // the end, or a line that was cut short
		}
		var rec record
		if err := json.Unmarshal(line, &rec); err != nil {
			return 0, fmt.Errorf("journal at byte %d: %w", whole, err)
		}
		if rec.Op == "putBlob" {
			if rec.Body, err = os.ReadFile(p.blobPath(rec.Hash)); err != nil {
				return 0, err
			}
		}
		p.apply(rec)
		whole += int64(len(line))
	}
}

// keep writes one message down. mu is held.
func (p *Platform) keep(rec record) error {
	if p.journal == nil || rec.Op == "heartbeat" {
		return nil
	}
	if rec.Op == "putBlob" {
		if err := os.WriteFile(p.blobPath(rec.Hash), rec.Body, 0o600); err != nil {
			return err
		}
		rec.Body = nil
	}
	line, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	_, err = p.journal.Write(append(line, '\n'))
	return err
}

func (p *Platform) blobPath(sum string) string { return filepath.Join(p.cfg.Dir, "blobs", sum) }
