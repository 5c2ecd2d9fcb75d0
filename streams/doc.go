// Package streams is the vocabulary of moving pictures: an access unit
// ([Frame]), what is needed to decode it ([Parameters]), and the fan-out of one
// camera to all who watch it ([Feed], [Reader]).
//
// A frame is made once and shared by every reader; nobody may change it.
// NAL units are kept bare: no start codes, no length prefixes, no emulation
// bytes removed. Parameter sets, access unit delimiters and filler are taken
// out of the frames and live in Parameters, which change only when the camera
// says so; frames with equal Parameters pointers need the same decoder.
//
// A group of pictures is a key frame and all that depends on it. A feed keeps
// whole groups only, and a reader that is too slow loses whole groups.
package streams
