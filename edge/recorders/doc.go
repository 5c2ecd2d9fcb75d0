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
// Times are those of the recorder's clock, unchanged: how far that was ahead long ago nobody knows. How
// far it is ahead now goes with all that is shown, so that people can judge. Where the recorder does not
// tell when each picture was taken, the first counts as taken at the beginning that was asked for.
//
// # What is fetched
//
// An interval, at most [Config.Longest] and [Config.Bytes], is fetched as a whole
// before it is shown, [Config.AtOnce] of them at a time and two of one recorder; who asks for it again, or for a part
// of it, gets the same bytes. Each is kept for [Config.Keep], all of them in at most [Config.Total]
// bytes, what was exported for 90 days. A recorder that is slow or strays is cut, and the clip says why.
//
// # Files and tables recorder_fetches and recorder_exports, version 2
//
// Each fetch is a camera's directory of a [recording.Archive] of its own, named by its id;
// a directory without a row is deleted. What was taken out is found again by its hash. The tables are
// described in migrations/.
package recorders
