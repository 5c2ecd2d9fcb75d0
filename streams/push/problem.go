package push

import (
	"errors"
	"fmt"

	"offsite/devices"
)

// Codes of the Problems of a publication.
const (
	CodeUnreachable = "push_unreachable" // no connection to the receiver
	CodeRefused     = "push_refused"     // it answered by a status
	CodeGarbled     = "push_garbled"     // its answer cannot be read
	CodeElsewhere   = "push_elsewhere"   // it wants the pictures at addresses that are not allowed
	CodeNoWay       = "push_no_way"      // pictures do not get through
	CodeLost        = "push_lost"        // it was there and has gone
)

func unreachable(host string, err error) *devices.Problem {
	var refused *devices.Problem
	if errors.As(err, &refused) { // by who says where pictures may go
		return refused
	}
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: CodeUnreachable, Field: "push_url", Cause: errors.Unwrap(err), // the outer one quotes the address, which may hold a key
		ZH: "无法连接流媒体服务器 " + host + "，请检查地址、证书和网络", EN: "no connection to the media server " + host + "; check address, certificate and network",
	}
}

func refusedBy(host string, status int) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: CodeRefused, Field: "push_url",
		ZH: fmt.Sprintf("流媒体服务器 %s 以状态码 %d 拒绝推流，请核对地址和令牌", host, status),
		EN: fmt.Sprintf("the media server %s refused the pictures with status %d; check address and token", host, status),
	}
}

func badAnswer(host string, err error) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: CodeGarbled, Field: "push_url", Cause: err,
		ZH: "流媒体服务器 " + host + " 的 SDP 应答不可用，请核对其是否接收该编码", EN: "the SDP answer of the media server " + host + " is of no use; check that it takes this codec",
	}
}

func elsewhere(host string) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrInvalid, Code: CodeElsewhere, Field: "push_url",
		ZH: "流媒体服务器 " + host + " 没有给出允许名单内的媒体地址；请在 platform.push.hosts 中加入其媒体地址",
		EN: "the media server " + host + " names no media address that is on the allow-list; add its media addresses to platform.push.hosts",
	}
}

func noWay(host string) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: CodeNoWay, Field: "push_url",
		ZH: "视频无法送达流媒体服务器 " + host + "；请检查防火墙的 UDP，或改用 RTSP 推流", EN: "pictures do not get through to the media server " + host + "; check the firewall for UDP, or push by RTSP",
	}
}

func lost(err error) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: CodeLost, Cause: err,
		ZH: "与流媒体服务器的连接中断；如仍需要，请重新发起", EN: "the connection to the media server broke; open the stream anew if it is still wanted",
	}
}

// reordered is why such a camera is pushed another way: WebRTC shows pictures as
// they come.
func reordered() *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrConflict, Code: "b_frames", ZH: "摄像机使用 B 帧，WHIP 不能传送；请改用 RTSP 推流，或在摄像机上关闭 B 帧",
		EN: "the camera sends B-frames, which WHIP does not carry; push by RTSP, or turn them off in the camera",
	}
}
