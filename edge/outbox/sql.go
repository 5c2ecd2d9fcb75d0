package outbox

const (
	sqlPut = `INSERT INTO outbox (key, lane, after_key, kind, event, body, blobs, created)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING`

	sqlScan = `SELECT seq, key, lane, after_key, refusals FROM outbox WHERE state = 'waiting' AND seq > ? ORDER BY seq LIMIT ?`
	sqlNext = `SELECT seq, key, lane, after_key, refusals FROM outbox WHERE state = 'waiting' AND lane = ? AND seq > ? ORDER BY seq LIMIT 1`
	sqlHeld = `SELECT EXISTS (SELECT 1 FROM outbox WHERE key = ? AND state = 'waiting')`
	sqlLoad = `SELECT key, lane, after_key, kind, event, body, blobs, created FROM outbox WHERE seq = ? AND state = 'waiting'`

	sqlDone   = `UPDATE outbox SET state = 'done', finished = ? WHERE seq = ? AND state = 'waiting'`
	sqlRefuse = `UPDATE outbox SET refusals = refusals + 1 WHERE seq = ? AND state = 'waiting'`
	sqlBury   = `UPDATE outbox SET state = 'dead', refusals = refusals + 1, finished = ?, reason = ? WHERE seq = ? AND state = 'waiting'`
	sqlForget = `DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox WHERE state = 'done' AND finished < ? LIMIT ?)`

	sqlUnsent = `SELECT DISTINCT event FROM outbox WHERE state IN ('waiting', 'dead') AND event <> ''`

	sqlDepth = `SELECT (SELECT COUNT(*) FROM outbox WHERE state = 'waiting'), (SELECT COUNT(*) FROM outbox WHERE state = 'dead'),
		(SELECT created FROM outbox WHERE state = 'waiting' ORDER BY seq LIMIT 1)`
	sqlDead = `SELECT seq, key, lane, after_key, kind, event, body, blobs, created, refusals, reason, finished FROM outbox
		WHERE state = 'dead' AND seq < ? ORDER BY seq DESC LIMIT ?`
)
