// Package footage answers whoever asks what a camera has shown in an interval: with the
// gateway's own recording where there is one, and where there is none with what the
// camera's recorder (NVR) keeps, which is fetched when somebody wants it.
//
// # One answer, never mixed
//
// A [Timeline] is a row of stretches, each of one source, and of gaps, each with
// the reason of either source. A clip, and each part that is taken out, is of one source: pictures of two
// recorders are never put into one file. Their clocks differ, and by how much when they recorded nobody
// knows; their codecs may; and each file stays what its source gave, to be held against the original. So
// what is taken out of an interval is one MP4 for each stretch, with a manifest that names them.
//
// Times of a recorder are shifted to the gateway's clock by what its own is ahead ([Skew]), as far as that is known: what
// the gateway lacks from 10:00 to 10:05 is then what a recorder 90 s ahead calls 10:01:30 to 10:06:30. By how much stands
// beside each part; where it is not known, or cannot be meant, the recorder's 10:00 to 10:05 has to do.
//
// # Bounds
//
// A recorder is asked what it keeps for [Config.Patience]; one that is silent is told and not waited
// for. Of one interval [Config.Longest] is fetched at most, in sixteen stretches. Gaps of less than two seconds are left to be
// gaps. What cannot be fetched is a gap with that reason, unless nothing at all can be given.
//
// # The manifest, version 2
//
// JSON in UTF-8, written once and never changed: its own SHA-256 stands in the audit trail. [Manifest] is its form. Each
// part names its file, source, times, SHA-256, codec and clock, in words too; gaps bear code, zh and en. As
// one file everything is a ZIP without compression: manifest.json first, SHA256SUMS, then the parts as the
// manifest names them.
//
// # Table footage_exports, version 1
//
// One row for each interval that was taken out, kept as long as its parts are held, 90 days; see migrations/.
package footage
