// Package onvif finds cameras and steers them: a small client of the services
// that ONVIF Profile S, T, G and M devices offer (device, media 1 and 2, PTZ,
// events, recording search, replay), and of WS-Discovery 2005/04.
//
// # What is spoken
//
// SOAP 1.2 over HTTP POST. An answer is at most 1 MiB, 48 elements deep and
// 40,000 elements long, and comes within Config.Timeout; a document type
// declaration ends it. Elements are known by their local names: cameras use
// every prefix and forget namespaces.
//
// # Who asks
//
// A WS-UsernameToken (OASIS WSS 1.1, PasswordDigest) goes with each request
// behind the first, which asks for the camera's clock: Created is by that clock,
// so that a camera whose clock is wrong lets us in. Where the camera answers 401
// with a digest challenge, HTTP digest (RFC 7616) is used from then on. A camera that
// has refused both is not asked again: no account is locked by us.
//
// # Where it leads
//
// Cameras name addresses: of services, streams, pictures, subscriptions. Behind
// a router or after a move they are wrong, and a hostile device would have the
// gateway talk to others. Each is pinned: its host becomes the host that was
// dialled, its port stays, user and password in it are dropped. [Channel.Moved]
// tells which hosts a camera named instead of its own.
//
// # What a recorder keeps
//
// Profile G: what is recorded is searched ([Client.Recordings], [Client.Kept]) in at most
// 24 answers and by the recorder's own clock; [Client.ReplayURL] gives the pinned address at
// which it is replayed by RTSP.
//
// # Events
//
// A pull point (ONVIF Core, 9.1) is made, pulled and renewed by [Client.Listen]. Topics that
// tell what this trade wants to know are mapped to a [Type]; all others are dropped.
package onvif
