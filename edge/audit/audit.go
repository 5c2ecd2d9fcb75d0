package audit

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"offsite/devices"
	"offsite/devices/state"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Who acts when it is no person.
const (
	Platform = "platform"
	Gateway  = "gateway"
)

// Acts that the chain itself records.
const (
	actBegin  = "audit.begin"
	actBroken = "audit.broken"
)

// keyRow is what the chain's key is sealed for.
const keyRow = "audit/key"

// Entry is one act. Who and Act are always filled in.
type Entry struct {
	At      time.Time // zero means now; kept to the millisecond
	Who     string    // a person's name, Platform or Gateway
	From    string    // network address the request came from; empty for the gateway's own acts
	Act     string    // "camera.create", "signin", "snapshot.take"
	What    string    // "camera/cam-1"
	Purpose string    // why, where the act must say so
	Before  string    // Hash of what was there
	After   string    // Hash of what is there now
	Result  string    // "ok", or the code of the Problem
	Detail  string
}

// Row is an entry as it stands in the chain.
type Row struct {
	Seq int64
	Entry
	MAC string // hex
}

// Log is the chain. Its methods may be called from many goroutines.
type Log struct {
	db  *state.DB
	key []byte
}

// Open brings the tables up to date and reads the key, or begins the chain. It
// does not verify it.
func Open(ctx context.Context, db *state.DB) (*Log, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	if err := db.Migrate(ctx, "audit", files); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	l := &Log{db: db}
	if err := db.Update(ctx, func(tx *sql.Tx) error { return l.openKey(ctx, tx) }); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	return l, nil
}

// openKey reads the key; the first time it makes the key and row 1.
func (l *Log) openKey(ctx context.Context, tx *sql.Tx) error {
	sealed, err := selectKey(ctx, tx)
	if err != nil {
		return err
	}
	if sealed != nil {
		key, err := l.db.Unseal(keyRow, sealed)
		if err != nil {
			return keyGone(err)
		}
		l.key = []byte(key.Reveal())
		return nil
	}
	last, err := selectLast(ctx, tx)
	if err != nil {
		return err
	}
	if last.seq != 0 {
		return keyGone(errors.New("no row in audit_key"))
	}
	key := make([]byte, sha256.Size)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	if sealed, err = l.db.Seal(keyRow, devices.Secret(key)); err != nil {
		return err
	}
	l.key = key
	if err := insertKey(ctx, tx, sealed); err != nil {
		return err
	}
	return l.add(ctx, tx, link{last: zeroMAC()}, Entry{Who: Gateway, Act: actBegin, Result: "ok"})
}

// Record appends e in a transaction of its own and returns when it is on disk.
func (l *Log) Record(ctx context.Context, e Entry) error {
	return l.db.Update(ctx, func(tx *sql.Tx) error { return l.Append(ctx, tx, e) })
}

// Append puts e behind the chain as part of tx, so that the act and its record
// are stored together or not at all. tx is one of state.DB.Update.
func (l *Log) Append(ctx context.Context, tx *sql.Tx, e Entry) error {
	if e.Who == "" || e.Act == "" {
		return fmt.Errorf("audit: an entry must say who and what act: %+v", e)
	}
	head, newest, err := selectEnd(ctx, tx)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if !l.genuine(head) || newest > head.seq {
		if head, err = l.goOnBehind(ctx, tx, head); err != nil {
			return fmt.Errorf("audit: %w", err)
		}
	}
	if err := l.add(ctx, tx, head, e); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

// add writes the row behind head and the head that follows.
func (l *Log) add(ctx context.Context, tx *sql.Tx, head link, e Entry) error {
	e = e.tidy()
	next := link{seq: head.seq + 1}
	next.last = l.rowMAC(head.last, next.seq, e)
	next.mac = l.headMAC(next)
	if err := insertRow(ctx, tx, next.seq, e, next.last); err != nil {
		return err
	}
	return upsertHead(ctx, tx, next)
}

// goOnBehind writes that the head was tampered with, behind the last row there
// is, and gives the new head.
func (l *Log) goOnBehind(ctx context.Context, tx *sql.Tx, found link) (link, error) {
	last, err := selectLast(ctx, tx)
	if err != nil {
		return link{}, err
	}
	e := Entry{
		Who: Gateway, Act: actBroken, Result: "audit_broken",
		Detail: fmt.Sprintf("head says row %d, newest row is %d", found.seq, last.seq),
	}
	last.seq = max(last.seq, found.seq) // the trigger lets the head move forward only
	if err := l.add(ctx, tx, last, e); err != nil {
		return link{}, err
	}
	return selectHead(ctx, tx)
}

// tidy fills in the time and makes every text what SQLite gives back unchanged.
func (e Entry) tidy() Entry {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	e.At = e.At.UTC().Truncate(time.Millisecond)
	for _, text := range e.texts() {
		*text = strings.ReplaceAll(strings.ToValidUTF8(*text, "\uFFFD"), "\x00", "\uFFFD")
	}
	return e
}

// texts are the fields in the order in which they are authenticated.
func (e *Entry) texts() []*string {
	return []*string{&e.Who, &e.From, &e.Act, &e.What, &e.Purpose, &e.Before, &e.After, &e.Result, &e.Detail}
}

// Hash is the SHA-256 of the JSON of v in hex, for Before and After; "" for
// nil. Secrets are not in it: their JSON is redacted.
func Hash(v any) string {
	if v == nil {
		return ""
	}
	text, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func keyGone(cause error) error {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "audit_key_gone", Cause: cause,
		ZH: "审计密钥缺失或无法解密，审计表可能被改动；请用最近的备份恢复数据库和密钥文件",
		EN: "the audit key is missing or cannot be decrypted, the audit tables may have been tampered with; restore the database and its key file from the last backup",
	}
}
