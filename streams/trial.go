package streams

import (
	"fmt"
	"slices"
	"time"

	"offsite/devices"
)

// Trial is what a probe of a camera saw.
type Trial struct {
	Steps []devices.Step
	Video *Video // nil where no picture came
	Still *Still // nil where none could be taken as JPEG
}

// Video describes the stream of a camera.
type Video struct {
	Codec       Codec            `json:"codec"`
	Profile     string           `json:"profile,omitempty"` // of H.264: baseline, main, high, …
	Width       int              `json:"width"`             // pixels
	Height      int              `json:"height"`
	FrameRate   float64          `json:"frame_rate"`             // a second
	KeyInterval devices.Duration `json:"key_interval,omitempty"` // zero if unknown
	Bitrate     int64            `json:"bitrate"`                // bits a second
	Plays       string           `json:"plays"`                  // in browsers: yes, depends, stills, no
}

// What browsers make of a stream.
const (
	PlaysEverywhere = "yes"
	PlaysSomewhere  = "depends" // H.265: on the browser and its machine
	PlaysStills     = "stills"  // MJPEG: picture by picture
	PlaysNowhere    = "no"      // H.264 with ten bits or finer colours
)

// longKey is the longest distance of key frames that viewers like to wait for.
const longKey = 4 * time.Second

// VideoOf describes a feed that was watched for a while.
func VideoOf(before, after *State, watched time.Duration) *Video {
	v := &Video{Codec: after.Params.Codec, Width: after.Params.Width, Height: after.Params.Height, KeyInterval: devices.Duration(after.KeyInterval)}
	if s := watched.Seconds(); s > 0 && after.Frames > before.Frames {
		v.FrameRate = float64(after.Frames-before.Frames) / s
		v.Bitrate = int64(float64(after.Bytes-before.Bytes) * 8 / s)
	}
	switch v.Codec {
	case H265:
		v.Plays = PlaysSomewhere
	case MJPEG:
		v.Plays = PlaysStills
	default:
		v.Plays = PlaysNowhere
		if sps := after.Params.SPS; len(sps) > 1 {
			// profile_idc, ITU-T H.264, 7.4.2.1.1
			v.Profile = map[byte]string{66: "baseline", 77: "main", 88: "extended", 100: "high", 110: "high 10", 122: "high 4:2:2", 244: "high 4:4:4"}[sps[1]]
		}
		if slices.Contains([]string{"baseline", "main", "high"}, v.Profile) {
			v.Plays = PlaysEverywhere
		}
	}
	return v
}

// Step puts a stream into words.
func (v *Video) Step(took time.Duration) devices.Step {
	codec := map[Codec]string{H264: "H.264", H265: "H.265", MJPEG: "MJPEG"}[v.Codec]
	if v.Profile != "" {
		codec += " " + v.Profile
	}
	s := devices.GoodStep("video", took,
		fmt.Sprintf("%s，%d×%d，%.0f 帧/秒，%d kbit/s", codec, v.Width, v.Height, v.FrameRate, v.Bitrate/1000),
		fmt.Sprintf("%s, %d×%d, %.0f frames/s, %d kbit/s", codec, v.Width, v.Height, v.FrameRate, v.Bitrate/1000))
	if v.KeyInterval > 0 {
		key := v.KeyInterval.D().Round(100 * time.Millisecond)
		s.ZH, s.EN = fmt.Sprintf("%s，关键帧间隔 %s", s.ZH, key), fmt.Sprintf("%s, a key frame each %s", s.EN, key)
	}
	switch v.Plays {
	case PlaysEverywhere:
		s.ZH, s.EN = s.ZH+"；浏览器可直接播放", s.EN+"; every browser plays it"
	case PlaysSomewhere:
		s.ZH, s.EN = s.ZH+"；能否播放取决于浏览器", s.EN+"; whether it plays depends on the browser"
		s.CureZH, s.CureEN = "如需处处可看，请把摄像机改为 H.264，或填写其 H.264 子码流", "to be seen everywhere set the camera to H.264, or give its H.264 sub-stream"
	case PlaysStills:
		s.ZH, s.EN = s.ZH+"；以逐帧图片播放", s.EN+"; shown picture by picture"
	default:
		s.ZH, s.EN = s.ZH+"；浏览器不能播放", s.EN+"; browsers do not play it"
		s.CureZH, s.CureEN = "请把摄像机改为 H.264 的 Main 或 High", "set the camera to H.264 main or high"
	}
	if v.KeyInterval.D() > longKey && s.CureZH == "" {
		s.CureZH, s.CureEN = "关键帧间隔太长，打开画面要等；请在摄像机上改为 1 至 2 秒", "key frames are far apart and viewers wait for them; set 1 or 2 s in the camera"
	}
	return s
}
