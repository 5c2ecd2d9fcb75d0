// Package accounts knows who may do what: named people with a password, bearer
// tokens for programs, the sessions of browsers, single-use tickets, and the
// set-up token that makes the first person.
//
// Every change is committed together with its row of the audit trail; what
// cannot be audited does not happen. A wrong password is counted, on disk,
// before it is compared, so that many at once win no extra tries.
//
// # Tables
//
// In offsite.db, migrations in migrations/, version table goose_accounts;
// migrations only ever add. Times are Unix milliseconds, 0 for never.
//
//	people     one row a person, also retired ones: ids are never used again; sites is a JSON array, [] for every site;
//	           password is argon2id in PHC form: $argon2id$v=19$m=19456,t=2,p=1$salt$hash
//	tokens     hash is the SHA-256 of the secret, which has 256 random bits; sites as above; cameras is a JSON array of the only
//	           cameras that it reaches, and then nothing else, [] for no such bound
//	sessions   hash is the SHA-256 of the cookie; data is JSON {"deadline","person"}
//	attempts   wrong passwords, subject is "person/ID" or "address/IP"; locked_ms is when the lock ends
//	preferences  what a person or token has chosen for itself, by name, such as its walls of pictures; owner is the person's id
//	           or "token:" and the token's, and with it the row goes; data is JSON whose form belongs to who names it (gateway/api/video/walls.go)
//	setup      SHA-256 of the set-up token, while nobody exists
//
// Tickets and sign-in links live in memory: they are short, and a restart may
// forget them.
package accounts
