package evidence

const itemColumns = `event, camera, kind, moment, breach_at, state, sha256, marked, captured_at, about, reason`

const (
	sqlExpect = `INSERT INTO evidence (event, camera, kind, moment, breach_at, expected_at) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (event, camera, kind, moment) DO NOTHING`
	sqlPending = `SELECT id, event, camera, kind, moment, breach_at, expected_at FROM evidence
		WHERE state = 'pending' AND id > ? ORDER BY id LIMIT ?`
	sqlAttach = `UPDATE evidence SET state = 'attached', sha256 = ?2, marked = ?3, captured_at = ?4, about = ?5, reason = ?6
		WHERE id = ?1 AND state = 'pending'`
	sqlNone    = `UPDATE evidence SET state = 'none', reason = ?2 WHERE id = ?1 AND state = 'pending'`
	sqlOfEvent = `SELECT ` + itemColumns + ` FROM evidence WHERE event = ? ORDER BY camera, kind DESC, moment`
	sqlOfFile  = `SELECT ` + itemColumns + ` FROM evidence WHERE sha256 = ?1 OR marked = ?1 ORDER BY id`

	sqlManifest   = `SELECT sha256, size FROM evidence_manifest WHERE event = ?`
	sqlManifestOf = `SELECT event FROM evidence_manifest WHERE sha256 = ?`
	sqlSeal       = `INSERT INTO evidence_manifest (event, sha256, size, made_at) VALUES (?, ?, ?, ?) ON CONFLICT (event) DO NOTHING`
	sqlUnsealed   = `SELECT DISTINCT event FROM evidence e WHERE NOT EXISTS (SELECT 1 FROM evidence_manifest m WHERE m.event = e.event)
		AND NOT EXISTS (SELECT 1 FROM evidence p WHERE p.event = e.event AND p.state = 'pending')`
)
