// Package recording keeps the pictures of cameras as files and gives any
// interval of them back as one MP4.
//
// # Files, version 1
//
// The [Archive] is one directory. A camera's recording is cut into segments, each
// a file that plays on its own; they lie by camera and by the UTC day of their
// first picture:
//
//	cam-1/20261122/231500.040_60040_15012345.mp4    whole: begin, length in ms, bytes
//	cam-1/20261122/231600.080.part                  being written, or left by a crash
//
// The names are the index: nothing else says what there is, so nothing else can
// be wrong about it. Files have mode 0600, directories 0700.
//
// A segment is fragmented MP4 (ISO 14496-12, 14496-15): ftyp and moov, then
// fragments of about a second (moof, mdat), each one run of samples of track 1 in
// 90,000 ticks a second. Decoding times begin with zero; when that was by the
// gateway's clock is the file's name. Key frames carry their parameter sets
// in band too, so that what is joined from several segments needs one sample entry
// only. MJPEG is kept as mp4v with the object type of JPEG (ISO 14496-1, 0x6c).
// A segment begins with a key frame, is cut at the first one after
// [Config.Segment], and ends before its time when the connection or the parameter sets
// change, frames are missed, or the camera is silent.
//
// Fragments are appended whole, are fsynced every [Config.Sync] and never changed.
// After a crash [Archive.Load] cuts a file off behind its last whole fragment, so
// that a power cut costs at most the pictures of the last Sync and fragment.
//
// # Clips
//
// [Archive.Clip] gives an interval as one MP4 with its index first, which browsers
// and players begin and seek in without reading the rest. It is laid out, not
// made: its bytes are those of the segments, read when they are asked for, so that
// a clip costs only the memory of its index (about 5 bytes a picture). The same interval of the same
// segments gives the same bytes. Its times are true: they count from the first
// picture, an edit list takes out the delay of B-frames, and where nothing was
// recorded the last picture stands until the next one.
//
// # Playing
//
// [Archive.Play] gives the same pictures as frames, each when it is due, for whoever
// sends them on. What was not recorded is passed over, and a segment that is still
// being written is followed as it grows.
package recording
