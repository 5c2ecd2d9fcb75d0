package audit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"offsite/devices"
)

// link is where the chain ends: number and mac of its newest row. mac, of a
// head that was read, authenticates both.
type link struct {
	seq       int64
	last, mac []byte
}

// zeroMAC stands before the first row.
func zeroMAC() []byte { return make([]byte, sha256.Size) }

func (l *Log) rowMAC(before []byte, seq int64, e Entry) []byte {
	h := hmac.New(sha256.New, l.key)
	text := append([]byte{1}, before...)
	text = binary.BigEndian.AppendUint64(text, uint64(seq))
	text = binary.BigEndian.AppendUint64(text, uint64(e.At.UnixMilli()))
	for _, field := range e.texts() {
		text = binary.BigEndian.AppendUint32(text, uint32(len(*field)))
		text = append(text, *field...)
	}
	h.Write(text)
	return h.Sum(nil)
}

func (l *Log) headMAC(k link) []byte {
	h := hmac.New(sha256.New, l.key)
	h.Write(append(binary.BigEndian.AppendUint64([]byte{2}, uint64(k.seq)), k.last...))
	return h.Sum(nil)
}

// genuine says that the head is as Append wrote it.
func (l *Log) genuine(k link) bool { return k.seq > 0 && hmac.Equal(k.mac, l.headMAC(k)) }

// Head is the end of the chain, to be kept where the gateway's owner cannot
// reach it.
type Head struct {
	Seq int64  // number of the newest row
	MAC string // its mac in hex
}

// Head gives the end of the chain.
func (l *Log) Head(ctx context.Context) (Head, error) {
	k, err := selectHead(ctx, l.db.Read())
	if err != nil {
		return Head{}, fmt.Errorf("audit: %w", err)
	}
	return Head{Seq: k.seq, MAC: hex.EncodeToString(k.last)}, nil
}

// Verify walks the whole chain. It returns nil when it is whole, else a Problem
// with code audit_broken whose Field, "audit[17]", names the first broken row.
func (l *Log) Verify(ctx context.Context) error {
	tx, err := l.db.Read().BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // it only reads
	end := link{last: zeroMAC()}
	err = eachRow(ctx, tx, func(seq int64, e Entry, mac []byte) error {
		if p := l.checkRow(end, seq, e, mac); p != nil {
			return p
		}
		end = link{seq: seq, last: mac}
		return nil
	})
	if err != nil {
		return err
	}
	head, err := selectHead(ctx, tx)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if p := l.checkEnd(end, head); p != nil {
		return p
	}
	protected, err := selectTriggers(ctx, tx)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if protected < 7 {
		return broken(0, "审计表的写保护触发器被删除；请恢复备份并查明原因", "triggers that protect the audit tables were dropped; restore a backup and find out why")
	}
	return nil
}

func (l *Log) checkRow(end link, seq int64, e Entry, mac []byte) *devices.Problem {
	switch {
	case seq != end.seq+1:
		return broken(end.seq+1,
			fmt.Sprintf("审计记录第 %d 至 %d 行缺失；请与备份和平台留存核对", end.seq+1, seq-1),
			fmt.Sprintf("audit rows %d to %d are missing; compare with the backup and with what the platform keeps", end.seq+1, seq-1))
	case !hmac.Equal(mac, l.rowMAC(end.last, seq, e)):
		return broken(seq,
			fmt.Sprintf("审计记录第 %d 行被改动或并非网关写入；请与备份和平台留存核对", seq),
			fmt.Sprintf("audit row %d was changed or was not written by the gateway; compare with the backup and with what the platform keeps", seq))
	case e.Act == actBroken:
		return broken(seq,
			fmt.Sprintf("审计记录在第 %d 行之前曾被截断或篡改（%s）；请与备份和平台留存核对", seq, e.Detail),
			fmt.Sprintf("the audit had been cut or tampered with before row %d (%s); compare with the backup and with what the platform keeps", seq, e.Detail))
	}
	return nil
}

func (l *Log) checkEnd(end, head link) *devices.Problem {
	switch {
	case !l.genuine(head):
		return broken(end.seq+1,
			fmt.Sprintf("审计链末端的校验记录被改动，第 %d 行之后可能有记录被删除；请与备份和平台留存核对", end.seq),
			fmt.Sprintf("the record of the chain's end was tampered with; rows behind %d may be missing; compare with the backup and with what the platform keeps", end.seq))
	case head.seq > end.seq:
		return broken(end.seq+1,
			fmt.Sprintf("审计记录第 %d 至 %d 行被截去；请与备份和平台留存核对", end.seq+1, head.seq),
			fmt.Sprintf("audit rows %d to %d were cut off; compare with the backup and with what the platform keeps", end.seq+1, head.seq))
	case head.seq < end.seq:
		return broken(head.seq+1,
			fmt.Sprintf("审计链末端退回到第 %d 行；请与备份和平台留存核对", head.seq),
			fmt.Sprintf("the chain's end was put back to row %d; compare with the backup and with what the platform keeps", head.seq))
	}
	return nil
}

func broken(row int64, zh, en string) *devices.Problem {
	field := "audit"
	if row > 0 {
		field = fmt.Sprintf("audit[%d]", row)
	}
	return &devices.Problem{Kind: devices.ErrConflict, Code: "audit_broken", Field: field, ZH: zh, EN: en}
}
