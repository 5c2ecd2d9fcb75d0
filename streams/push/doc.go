// Package push sends a camera's pictures to a media server by WHIP (RFC 9725):
// an SDP offer is posted with a bearer token, the answer says how the pictures
// are to come, and its Location is deleted at the end.
//
// One H.264 or H.265 stream goes out by SRTP, lost packets again on a NACK, the
// current group again on a PLI. The gateway mostly sits behind NAT, so that it
// knocks first: at the candidates of the answer whose addresses [Config].Allow
// has, by UDP or TCP (RFC 6544), and at no other. No STUN or TURN server is
// asked; a media server has an address that can be reached.
package push
