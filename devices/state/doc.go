// Package state opens offsite.db, the one SQLite database of a gateway, and
// keeps the promise that what Update has returned from is on disk.
//
// # Writing
//
// There is one write connection and no goroutine of its own. Callers of
// [DB.Update] take turns at it: the first opens a transaction, each does its
// work inside a savepoint on its own goroutine, and whoever finds nobody
// waiting behind him (or the group 5 ms old, or 256 strong) commits for all.
// A lone caller therefore pays one fsync and no delay, and many callers share
// one. A panic or an error in one caller's work undoes that work alone.
//
// A commit that fails is told to the whole group as ErrUnavailable. It does
// not mean "not stored": an fsync that reported an error may have written all
// the same. So every caller's work must be safe to do again (keys made before
// the transaction, INSERT … ON CONFLICT DO NOTHING), and whoever keeps in
// memory what he writes reads it again after such an error. The connections
// are closed and opened anew before the next transaction.
//
// # Files
//
// All lie in Config.Dir, which is made with mode 0700 when it is absent.
//
//	offsite.db, -wal, -shm     SQLite, WAL, synchronous=FULL
//	offsite.lock               held by flock while the gateway runs; holds its pid
//	offsite.key                64 hex digits and a line feed: the key that seals secrets (Config.KeyFile)
//	offsite.db.backup          what was committed when [DB.Backup] was called last; an SQLite file
//	offsite.db.damaged-TIME*   a database that failed its check, moved aside and left alone
//	offsite.db.lost-TIME*      what was left of one that is gone, such as its log
//
// Where the database fails its check at Open the last backup takes its place,
// which [DB.Restored] tells until [DB.Told]. So it does where there is none, or one
// that holds nothing, and yet the key, a backup, a log without its database or what
// others have written beside it (Config.Remains) shows that there was one. Without a
// backup that passes the same check Open refuses, until a person has put one in place
// or has moved the directory away: what was in use is never replaced by an empty
// database, in which whoever comes first would make the first account.
//
// # Tables
//
// Each owner brings its own migrations (SQL files for goose, numbered from
// 00001) and has its own version table goose_{owner}; nobody touches another's
// tables. This package's own table is state_meta (name TEXT PRIMARY KEY, value
// BLOB); its row "key_check" holds a word sealed at first start, by which a
// wrong key file is noticed before it does harm, and its row "restored" the JSON of
// what is still to be told of a backup that took the database's place.
//
// # Sealing
//
// A sealed secret is one byte of format (1), a random nonce of 12 bytes and
// the AES-256-GCM ciphertext with its tag of 16 bytes. The associated data is
// "offsite/" and the name of the row, so that a sealed secret copied into
// another row does not open. The empty secret is sealed as no bytes at all.
package state
