package breach

// stateOf is the alarm state that follows from a row of events.
const stateOf = `CASE
	WHEN ended_at IS NULL AND acknowledged_at IS NULL THEN 'unacknowledged'
	WHEN ended_at IS NULL THEN 'acknowledged'
	WHEN acknowledged_at IS NULL THEN 'returned_unacknowledged'
	ELSE 'normal' END`

// eventColumns is what scanEvent reads.
const eventColumns = `id, revision, site, point, limit_id, started_at, value, original, peak, peak_at,
	ended_at, end_reason, acknowledged_at, acknowledged_by, note, evidence, frozen`

const (
	sqlLoadCursor = `SELECT seq FROM judging_cursor WHERE id = 1`
	sqlSaveCursor = `UPDATE judging_cursor SET seq = ? WHERE id = 1 AND seq < ?`

	sqlLoadAlarms = `SELECT limit_id, point, version, judged_at, judged_seq, since, told, event FROM alarm_states`
	sqlSaveAlarm  = `INSERT INTO alarm_states (limit_id, point, version, judged_at, judged_seq, since, told, event, state)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, COALESCE((SELECT ` + stateOf + ` FROM events WHERE id = ?8), 'normal'))
		ON CONFLICT (limit_id, point) DO UPDATE SET version = excluded.version, judged_at = excluded.judged_at,
		judged_seq = excluded.judged_seq, since = excluded.since, told = excluded.told, event = excluded.event,
		state = CASE WHEN state IN ('shelved', 'out_of_service') THEN state ELSE excluded.state END`
	sqlForgetAlarm = `DELETE FROM alarm_states WHERE limit_id = ? AND point = ?`
	sqlAlarmState  = `UPDATE alarm_states SET state = (SELECT ` + stateOf + ` FROM events WHERE id = ?1)
		WHERE event = ?1 AND state NOT IN ('shelved', 'out_of_service')`

	sqlOpenEvents = `SELECT ` + eventColumns + ` FROM events WHERE ended_at IS NULL`
	sqlFaults     = `SELECT ` + eventColumns + ` FROM events WHERE ended_at IS NULL AND id GLOB '` + faultIDs + `*'`
	sqlRecognised = `SELECT ` + eventColumns + ` FROM events WHERE ended_at IS NULL AND id GLOB '` + recognisedIDs + `*'`
	sqlEvent      = `SELECT ` + eventColumns + ` FROM events WHERE id = ?`
	sqlEvents     = `SELECT ` + eventColumns + ` FROM events WHERE `
	sqlEventOrder = ` ORDER BY started_at DESC, id DESC LIMIT ?`

	sqlOpenEvent = `INSERT INTO events (id, revision, site, point, limit_id, started_at, value, peak, peak_at, evidence, frozen)
		VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`
	sqlMoveEvent = `UPDATE events SET revision = revision + 1, value = ?2, original = ?3, peak = ?4, peak_at = ?5,
		ended_at = ?6, end_reason = ?7 WHERE id = ?1 RETURNING ` + eventColumns
	sqlPeak        = `UPDATE events SET peak = ?2, peak_at = ?3 WHERE id = ?1 AND ended_at IS NULL`
	sqlEvidence    = `UPDATE events SET evidence = ?2 WHERE id = ?1`
	sqlAcknowledge = `UPDATE events SET revision = revision + 1, acknowledged_at = ?2, acknowledged_by = ?3, note = ?4
		WHERE id = ?1 AND acknowledged_at IS NULL RETURNING ` + eventColumns
)
