// Package streams is the vocabulary of moving pictures: an access unit
// ([Frame]), what is needed to decode it ([Parameters]), and the fan-out of one
// camera to all who watch it ([Feed], [Reader]).
//
// A frame is made once and shared by every reader; nobody may change it, and whoever
// was given it may keep it. The ring writes again only what nobody else ever had (see
// [Spare]); all other frames the garbage collector frees.
//
// NAL units are kept bare: no start codes, no length prefixes, no emulation
// bytes removed. Parameter sets, access unit delimiters and filler are taken
// out of the frames and live in Parameters, which change only when the camera
// says so; frames with equal Parameters pointers need the same decoder.
//
// A frame carries three times: when to show it (PTS), when to decode it (DTS) and
// when it was (At by the gateway's clock, Taken by the camera's where the camera
// tells it). PTS and DTS leap neither back nor far ahead within a connection:
// a source mends stamps that do.
//
// A camera has a feed for each of its profiles ([devices.Profile]). A feed may
// be pulled on demand: subscribing is the demand, AwaitReader and AwaitIdle tell
// it to whoever pulls. A reader of a feed that is not connected waits; State says
// why, and Watch when to look again. Live views take [Feed.Subscribe], which
// skips to keep up; recordings and clips take [Feed.Follow], which takes all.
//
// MJPEG has frames of one NAL unit, the JPEG, every one a key frame, and no
// parameter sets.
//
// A group of pictures is a key frame and all that depends on it. A feed keeps
// whole groups only, and a reader that is too slow loses whole groups.
package streams
