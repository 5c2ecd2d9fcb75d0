// Package evidence keeps what belongs to an event: of each camera that watches the
// outlet where it happened, stills from before, at and after the breach and a clip
// around it, and a manifest that names them all.
//
// # Files
//
// The [Vault] is one directory of files named by the SHA-256 of their bytes in
// lower-case hex, without suffix, mode 0600. A file is written under another
// name ("incoming-…"), fsynced, renamed, and the directory fsynced, before any
// row names it; whoever reads one has its hash checked first. A failing fsync is a
// piece that is not kept: nothing is told of it but why.
//
// # Taking
//
// That pieces are wanted is written in the transaction that opens the event
// ([Collector.Expect]), so they are wanted again after a restart. The moments are
// counted from the breach; where its reading came later than the clip reaches back,
// or bears a time that has not come, from when the gateway learnt of it. Each piece is
// committed as soon as it is in the vault.
//
// A still is the nearest whole picture of those that the gateway still holds of the moment: behind a
// picture that was lost or damaged the last one before it, and its reason says so. Where
// there is none, a still of the breach or after it is taken as soon as the
// camera gives one, for up to Config.Deadline; of before the breach there is then none.
// Clips begin at once and end with their time; what the gateway's stop or the
// camera's silence took from one is told beside it. Wishes for the same camera and
// nearly the same time share one piece.
//
// A piece bears its capture time, whose clock told it, and its distance from the
// breach; where there is none the reason stands instead. What was still wanted
// from before Config.Oldest, because the gateway was down, ends without a picture.
//
// # Telling
//
// An event's evidence is told when the stills up to the breach are settled, and again,
// complete, when all is; each in the transaction that commits it.
//
// # The manifest
//
// With the last piece a JSON document (type [Manifest]) is put into the vault, in the
// canonical form of RFC 8785: names sorted, no white space, UTF-8. Format
// "offsite-evidence/1"; fields may be added. An event without a single file has none.
//
// # Keeping
//
// Files of an event are kept for [Retention.Keep] since its end, and longer while it goes
// on, while a person holds it ([Collector.Hold]) and until the platform has acknowledged all
// of it. On a disk that is nearly full those of the oldest events that a person has taken
// notice of go earlier, clips before stills. The rows stay, say when and why, and keep the
// hashes; manifests are never deleted. A file that no row names, which is what the platform
// asked for, is kept for [Retention.Loose].
//
// First the rows are marked, with the sum in the audit trail, then the files go, and only
// those that no unmarked row names and that nobody has put again in the last hour: a crash
// leaves files too many, which go as such that no row names, and never a row without its
// file. Age is not judged by a clock that has jumped within the last hour.
//
// # Watermarks
//
// By Config.Watermark the words (site, camera, time, event) are a subtitle track of the clip
// ("subtitle"), are besides burnt into a copy of each still ("burn"), or are left out ("none"). The
// still itself is always kept as it came, and so is the picture of a clip. How words are
// burnt in says the package lettering.
//
// # Table evidence, version 2
//
// One row for each event, camera, kind and moment (milliseconds from the breach, zero for
// clips); camera is empty where no camera watches the outlet. Times are Unix
// milliseconds: breach_at by the reading's clock, expected_at and captured_at by
// the gateway's. state is pending, attached or none; about is JSON (type details);
// marked is the file of the burnt copy; reason is JSON {code, zh, en}, of an attached
// piece what it lacks. deleted_at is when its file was deleted, and deleted_why age or disk;
// nothing else of a row changes once it has left pending.
//
// # Table evidence_manifest, version 1
//
// One row for each event whose evidence is complete; sha256 is empty where it has no
// manifest.
//
// # Table evidence_hold, version 1
//
// One row for each event whose evidence is held: who (an id), when and why.
package evidence
