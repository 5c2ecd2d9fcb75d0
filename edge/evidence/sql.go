package evidence

const itemColumns = `event, camera, breach_at, state, sha256, media_type, captured_at, step, width, height, reason`

const (
	sqlExpect = `INSERT INTO evidence (event, camera, breach_at, expected_at) VALUES (?, ?, ?, ?)
		ON CONFLICT (event, camera) DO NOTHING`
	sqlPending = `SELECT id, event, camera, expected_at FROM evidence
		WHERE state = 'pending' AND id > ? ORDER BY id LIMIT ?`
	sqlAttach = `UPDATE evidence SET state = 'attached', sha256 = ?2, media_type = ?3, captured_at = ?4, step = ?5, width = ?6, height = ?7
		WHERE id = ?1 AND state = 'pending'`
	sqlNone    = `UPDATE evidence SET state = 'none', reason = ?2 WHERE id = ?1 AND state = 'pending'`
	sqlOfEvent = `SELECT ` + itemColumns + ` FROM evidence WHERE event = ? ORDER BY id`
	sqlOfFile  = `SELECT ` + itemColumns + ` FROM evidence WHERE sha256 = ? ORDER BY id`
)
