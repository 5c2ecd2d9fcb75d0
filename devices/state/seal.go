package state

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"offsite/devices"
)

const (
	sealFormat   = 1
	sealOverhead = 1 + 12 + 16 // format, nonce, tag
	keyCheckRow  = "state_meta/key_check"
	keyCheckWord = "offsite"
)

// Seal encrypts s for the row it will stand in, such as "camera/cam-1". The
// empty secret gives nil.
func (db *DB) Seal(row string, s devices.Secret) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	sealed := make([]byte, 13, sealOverhead+len(s))
	sealed[0] = sealFormat
	if _, err := rand.Read(sealed[1:]); err != nil {
		return nil, fmt.Errorf("seal %s: %w", row, err)
	}
	return db.aead.Seal(sealed, sealed[1:13], []byte(s.Reveal()), associated(row)), nil
}

// Unseal decrypts what Seal gave for the same row. No bytes give the empty
// secret.
func (db *DB) Unseal(row string, sealed []byte) (devices.Secret, error) {
	if len(sealed) == 0 {
		return "", nil
	}
	if len(sealed) < sealOverhead || sealed[0] != sealFormat {
		return "", notUnsealed(row, errors.New("unknown format"))
	}
	plain, err := db.aead.Open(nil, sealed[1:13], sealed[13:], associated(row))
	if err != nil {
		return "", notUnsealed(row, err)
	}
	return devices.Secret(plain), nil
}

func associated(row string) []byte { return []byte("offsite/" + row) }

func notUnsealed(row string, err error) error {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "secret_unreadable", Cause: fmt.Errorf("unseal %s: %w", row, err),
		ZH: fmt.Sprintf("%s 的密码无法解密，请重新填写", row), EN: fmt.Sprintf("the secret of %s cannot be decrypted; enter it again", row),
	}
}

// openKey reads the key, or makes it at the first start, and checks that it is
// the one with which this database was begun.
func (db *DB) openKey(ctx context.Context) error {
	sealed, err := db.keyCheck(ctx)
	if err != nil {
		return err
	}
	key, err := readKey(db.cfg.KeyFile)
	if errors.Is(err, os.ErrNotExist) {
		if sealed != nil {
			return keyMissing(db.cfg.KeyFile)
		}
		key, err = makeKey(db.cfg.KeyFile)
	}
	if err != nil {
		return err
	}
	if info, err := os.Stat(db.cfg.KeyFile); err == nil && info.Mode().Perm()&0o077 != 0 {
		db.cfg.Log.Warn("others may read the key file; give it mode 0600", "file", db.cfg.KeyFile)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if db.aead, err = cipher.NewGCM(block); err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if sealed == nil {
		return db.putKeyCheck(ctx)
	}
	if word, err := db.Unseal(keyCheckRow, sealed); err != nil || word.Reveal() != keyCheckWord {
		return keyWrong(db.cfg.KeyFile)
	}
	return nil
}

// keyCheck reads the word sealed at first start; nil if this is it.
func (db *DB) keyCheck(ctx context.Context) ([]byte, error) {
	if _, err := db.writer.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS state_meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"); err != nil {
		return nil, storageProblem(err)
	}
	var sealed []byte
	err := db.writer.QueryRowContext(ctx, "SELECT value FROM state_meta WHERE name = 'key_check'").Scan(&sealed)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, storageProblem(err)
	}
	return sealed, nil
}

func (db *DB) putKeyCheck(ctx context.Context) error {
	sealed, err := db.Seal(keyCheckRow, keyCheckWord)
	if err != nil {
		return err
	}
	_, err = db.writer.ExecContext(ctx, "INSERT INTO state_meta (name, value) VALUES ('key_check', ?)", sealed)
	return storageProblem(err)
}

// readKey reads 64 hex digits.
func readKey(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, diskProblem(path, err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != 32 {
		return nil, devices.Invalid("key_file", "bad_key",
			fmt.Sprintf("密钥文件 %s 须为 64 位十六进制数字，请恢复原文件", path),
			fmt.Sprintf("the key file %s must hold 64 hex digits; restore the original", path))
	}
	return key, nil
}

// makeKey writes a new key so that it is whole and durable, or absent.
func makeKey(path string) ([]byte, error) {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, diskProblem(dir, err)
	}
	f, err := os.CreateTemp(dir, ".offsite-key-*") // mode 0600
	if err != nil {
		return nil, diskProblem(path, err)
	}
	_, err = f.WriteString(hex.EncodeToString(key) + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncDirectory(dir)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error is the one to tell
		return nil, diskProblem(path, err)
	}
	return key, nil
}

func keyMissing(path string) *devices.Problem {
	return devices.Invalid("key_file", "state_key_missing",
		fmt.Sprintf("找不到密钥文件 %s，而数据库中已有用它加密的内容；请恢复该文件", path),
		fmt.Sprintf("the key file %s is gone, but the database holds what it sealed; restore the file", path))
}

func keyWrong(path string) *devices.Problem {
	return devices.Invalid("key_file", "state_key_wrong",
		fmt.Sprintf("密钥文件 %s 与数据库不匹配；请恢复与该数据库一同使用的密钥", path),
		fmt.Sprintf("the key file %s does not belong to this database; restore the one that does", path))
}
