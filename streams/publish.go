package streams

import (
	"context"
	"net/url"

	"offsite/devices"
)

// Receiver is a media server to which pictures are pushed.
type Receiver struct {
	URL    *url.URL       // https: WHIP; rtsps, rtsp: RTSP RECORD. Without user
	User   string         // of RTSP
	Secret devices.Secret // bearer token of WHIP, password of RTSP
}

// Publication gives the frames that are pushed to one receiver.
type Publication interface {
	// Next gives the next frame, the first one a key frame. late says that it is
	// to be decoded rather than seen: the group it belongs to is being caught up.
	// It returns why the publication ends.
	Next(ctx context.Context) (f *Frame, late bool, err error)
	// Again begins anew with the current group, for a receiver that has lost its
	// way.
	Again()
}
