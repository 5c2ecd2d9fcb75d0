// Package recorders shows what recorders (NVR) keep of cameras: what there is, and
// any interval of it as the same MP4 as the gateway's own recordings.
//
// # Which recorder
//
// A camera's past is at the address that its entry names ([devices.Camera], ReplayURL),
// with times in the places of placeholders; else where its ONVIF device says, if that has
// recording search and replay (Profile G). Both are at the host of the camera's stream, and every
// connection is opened by [Config.Dial].
//
// # Whose word it is
//
// A recorder is asked by its own clock, as far as that is known: by how much it is ahead is asked for by ONVIF
// (GetSystemDateAndTime) each ten minutes in which somebody wants something, and where that fails gone by for an hour.
// Times that come back are shifted by as much. An offset of less than can be measured, half a second and half of what
// the answer took, is none, and one of more than a day is not followed. [Skew] goes with all that is shown: how far the clock
// is ahead, when that was asked, and by how much times were shifted. How far it was ahead when it recorded nobody
// knows. Where the recorder does not tell when each picture was taken, the first counts as taken at the beginning that was asked for.
//
// # What is fetched
//
// An interval, at most [Config.Longest] and [Config.Bytes], is fetched as a whole
// before it is shown, [Config.AtOnce] of them at a time and two of one recorder; who asks for it again, or for a part
// of it, gets the same bytes. Each is kept for [Config.Keep], all of them in at most [Config.Total]
// bytes, what was exported for 90 days. A recorder that is slow or strays is cut, and the clip says why.
//
// # Files and tables recorder_fetches and recorder_exports, version 3
//
// Each fetch is a camera's directory of a [recording.Archive] of its own, named by its id;
// a directory without a row is deleted. What was taken out is found again by its hash. The tables are
// described in migrations/.
package recorders
