package evidence

const itemColumns = `event, camera, kind, moment, breach_at, state, sha256, marked, captured_at, about, reason, deleted_at, deleted_why`

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

	// Events with files that are older than ?1 and go on behind the event ?3 of the time ?2; ?5 is a kind, or empty.
	sqlCandidates = `SELECT event, max(expected_at) AS last FROM evidence e
		WHERE state = 'attached' AND deleted_at IS NULL AND (?5 = '' OR kind = ?5) AND NOT EXISTS (SELECT 1 FROM evidence_hold h WHERE h.event = e.event)
		GROUP BY event HAVING last < ?1 AND (last, event) > (?2, ?3) ORDER BY last, event LIMIT ?4`
	sqlDelete = `UPDATE evidence SET deleted_at = ?1, deleted_why = ?2
		WHERE state = 'attached' AND deleted_at IS NULL AND (?4 = '' OR kind = ?4) AND event IN (SELECT value FROM json_each(?3))
		AND NOT EXISTS (SELECT 1 FROM evidence_hold h WHERE h.event = evidence.event)
		RETURNING event, sha256, marked, expected_at, coalesce(json_extract(about, '$.size'), 0)`
	// Of the files ?1 those that no row names which is not deleted.
	sqlUnnamed = `SELECT value FROM json_each(?1)
		WHERE NOT EXISTS (SELECT 1 FROM evidence WHERE sha256 = value AND sha256 <> '' AND deleted_at IS NULL)
		AND NOT EXISTS (SELECT 1 FROM evidence WHERE marked = value AND marked <> '' AND deleted_at IS NULL)
		AND NOT EXISTS (SELECT 1 FROM evidence_manifest WHERE sha256 = value AND sha256 <> '')`

	sqlHold    = `INSERT OR REPLACE INTO evidence_hold (event, who, at, reason) VALUES (?, ?, ?, ?)`
	sqlRelease = `DELETE FROM evidence_hold WHERE event = ?`
	sqlHeld    = `SELECT who, at, reason FROM evidence_hold WHERE event = ?`
)
