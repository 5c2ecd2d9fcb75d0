package hls

import (
	"bytes"
	"errors"
	"net/http"
	"strings"

	"offsite/devices"
	"offsite/streams"
)

// answer passes an answer on only where it is a good one. Its own header keeps
// the library from letting pictures be cached.
type answer struct {
	to     http.ResponseWriter
	header http.Header
	status int // zero: nothing was answered
	err    error
}

func (a *answer) Header() http.Header {
	if a.header == nil {
		a.header = http.Header{}
	}
	return a.header
}

func (a *answer) WriteHeader(status int) {
	if a.status != 0 {
		return
	}
	a.status = status
	if status == http.StatusOK {
		a.to.Header().Set("Content-Type", a.Header().Get("Content-Type"))
		a.to.WriteHeader(status)
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.status != http.StatusOK {
		return len(b), nil
	}
	n, err := a.to.Write(b)
	a.err = errors.Join(a.err, err)
	return n, err
}

// page is an answer that is kept.
type page struct{ bytes.Buffer }

func (*page) Header() http.Header { return http.Header{} }

func (*page) WriteHeader(int) {}

// Serve answers a request for one file, by its name. It waits for pictures as
// long as a player may be held up. Its errors are Problems, unless the player has
// gone: of kind ErrUnavailable where there are no pictures, of kind ErrNotFound
// where the file is no longer there.
func (m *Muxer) Serve(w http.ResponseWriter, r *http.Request, name string) error {
	m.enter()
	defer m.leave()
	e, err := m.await(r.Context())
	if err != nil {
		return err
	}
	if strings.HasSuffix(name, ".m3u8") && name != indexName && name != e.name {
		return renewed()
	}
	if err := e.serve(w, r, name); !errors.Is(err, errGone) {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.why != nil {
		return m.why
	}
	return renewed()
}

const codeCannot = "hls_not_possible"

func renewed() *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrNotFound, Code: "hls_renewed", ZH: "播放列表已更新，请重新打开", EN: "this part of the picture is gone; open the playlist again",
	}
}

func cannot(codec streams.Codec) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: codeCannot,
		ZH: "HLS 不能播放 " + string(codec) + " 画面；请改用实时画面或静态图片", EN: "HLS cannot carry " + string(codec) + "; use the live picture or stills instead",
	}
}

func tooLarge(err error) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "hls_too_large",
		ZH: "画面超出 HLS 的内存限额；请在摄像机上缩短关键帧间隔或降低码率", EN: "the pictures exceed the memory for HLS; set a shorter key frame interval or a lower bit rate in the camera", Cause: err,
	}
}

// silent says why a feed gives no pictures.
func silent(st streams.State) *devices.Problem {
	if st.Problem != nil {
		return st.Problem
	}
	return &devices.Problem{Kind: devices.ErrUnavailable, Code: "camera_silent", ZH: "摄像机暂无画面", EN: "no pictures come from the camera"}
}
