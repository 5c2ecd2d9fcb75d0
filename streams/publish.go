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

// CodecNotPushed is why pictures of this codec cannot be pushed.
func CodecNotPushed(codec Codec) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrConflict, Code: "codec_not_pushed", ZH: "只能推送 H.264 和 H.265；该摄像机为 " + string(codec) + "，请改用抓拍",
		EN: "only H.264 and H.265 can be pushed; this camera sends " + string(codec) + ": take snapshots instead",
	}
}

// CodecChanged ends a publication whose receiver expects another codec.
func CodecChanged() *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrConflict, Code: "codec_changed", ZH: "摄像机更改了编码；请重新发起", EN: "the camera has changed its codec; open the stream anew",
	}
}
