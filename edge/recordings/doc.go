// Package recordings decides what of the cameras is recorded, how long it is
// kept and why some of it is missing. The files are those of streams/recording.
//
// # What is recorded
//
// A camera is recorded always, or from [Config.Before] an event of an outlet that
// it watches, or of its own, until [Config.After] its end, at most [Config.Longest];
// then its main stream is pulled always, so that the time before the event is there.
//
// # What is kept
//
// A segment is kept for the camera's days (30 for hazardous sites, 15 for
// others), as long as the bytes of the camera and of all together stay below their
// bounds and the disk is filled to less than [Config.Tidy]; beyond that the
// oldest go first, and each that goes before its days is told. What a hold covers
// stays whatever happens: the time around an event for half a year, what
// somebody exported for 90 days. Events that happen all the time ([Happening].Often)
// are recorded, but hold nothing. At [Config.Stop] recording stops, before evidence and
// readings come to harm, and goes on below [Config.Resume].
//
// # Why some is missing
//
// What lies between two stretches is cut where its reason becomes another: the ledger's
// of the camera, of its recording and of the gateway, the days of keeping, the camera's
// retirement. Of several the narrowest counts; a minute at most before a reason was
// noticed, and after it was over, is put down to it.
//
// # Table recording_holds, version 1
//
// One row for each event or export and camera; times are Unix milliseconds by the
// gateway's clock. The row of an event moves its end until the event is over.
package recordings
