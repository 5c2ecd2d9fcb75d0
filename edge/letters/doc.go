// Package letters keeps the messages that could not be understood, so that they
// can be read again when their device's bindings are mended.
//
// Table dead_letters in offsite.db (goose table goose_letters): seq in the log,
// device, topic, payload (whole, at most 64 KiB), code, field, zh and en of why
// it was not understood, when it was received and when it was understood after
// all (Unix milliseconds). The newest are kept, up to 10,000 and 64 MiB of them.
// Compatibility: migrations only ever add.
package letters
