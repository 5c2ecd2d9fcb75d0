// Package breach judges readings against limits and keeps what came of it:
// the state of each alarm and the events that people and the platform see.
//
// # Judging
//
// Each pair of a limit and a point it applies to is one alarm with a state of
// its own, so HH and H on one point are separate. Only instant limits are
// judged so far and they raise an alarm 报警 (kind "alarm"), never an exceedance.
//
//   - An upper limit is breached by values above it, a lower one by values
//     below it; the limit itself keeps the limit.
//   - The alarm opens with the first reading that finds the limit breached
//     without a break for the on-delay. It ends with the first reading that
//     finds the value inside the limit by the deadband without a break for the
//     off-delay. Delays are measured by the readings' own times (At); no timer
//     ever opens or ends an alarm.
//   - A reading whose At is not newer than the last one judged never moves the
//     alarm. If it changes the very reading that opened the alarm which still
//     stands, the event is told as corrected; all other corrections are the
//     history's.
//   - Readings that are not usable, bear a mark that the limit excludes, or lie
//     outside the limit's validity are not judged. A repeated reading without a
//     time of its own is not judged either.
//   - A limit replaced while its alarm stands: the event keeps the version that
//     it was opened by, the next reading is judged by the new one with the
//     delays begun anew. A new level ends the event ("limit_changed").
//
// The state derives from the record alone, so judging a record again gives the
// same events with the same ids: an id is made of limit, point, the sequence of
// the opening record in the log and the opening reading's time.
//
// # Faults
//
// Cameras have faults: lost, frozen, black, covered, moved. Whoever watches the
// pictures opens and ends them ([Engine.OpenFault], [Engine.CloseFault]); they are
// events like others, with a camera in place of point and value and the rule as
// their limit, and have no row among the alarm states.
//
// # Alarm states (ISA-18.2)
//
// normal, unacknowledged, acknowledged, returned_unacknowledged; the words
// shelved and out_of_service are kept free. The signal's recovery (ended_at,
// end_reason) and a person's acknowledgement are two different fields of an
// event, and neither is the state of the platform's clue.
//
// # Revisions
//
// A revision is given inside the transaction that stores it, one higher than
// the event's last, so the order of revisions is the order of commits. An event
// is told as opened (revision 1), updated (acknowledged, or the peak's distance
// from the limit has doubled since it was last told and grown by at least a
// tenth of the limit), corrected, and closed.
//
// # Tables
//
//	events           one row an event; times are Unix milliseconds; frozen is the JSON
//	                 of what never changes after opening (type frozen), fields may be
//	                 added; the columns hold what moves. Version 1.
//	alarm_states     one row for each pair of limit and point that was ever judged:
//	                 last judged At and log sequence, when a pending change began,
//	                 the event that stands or was the last.
//	judging_cursor   one row: the log sequence up to which all is judged and stored
package breach
