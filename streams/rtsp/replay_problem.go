package rtsp

import (
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"

	"offsite/devices"
)

// Codes of the Problems of a replay, besides those of a camera.
const (
	CodeReplayNothing     = "replay_nothing"     // the recorder keeps nothing of the interval
	CodeReplayUnsupported = "replay_unsupported" // it does not play what is past
	CodeReplaySilent      = "replay_silent"      // it has stopped sending
	CodeReplayOutside     = "replay_outside"     // it sends another time than was asked for
	CodeReplayLarge       = "replay_large"       // it sends more than is taken
	CodeReplayBroken      = "replay_broken"      // the connection broke
	CodeReplayRefused     = "replay_refused"     // it does not play this interval, for whatever reason
)

// explainReplay makes the Problem of a replay that failed or ended early.
func (s *Source) explainReplay(err error) *devices.Problem {
	p := s.sortReplay(err)
	if p == nil {
		return s.explain(err)
	}
	if p.Kind == nil {
		p.Kind = devices.ErrUnavailable
	}
	p.Cause = errors.New(devices.Scrub(err.Error(), s.camera.Password))
	return p
}

// sortReplay gives nil where what is true of a camera is true of the recorder.
func (s *Source) sortReplay(err error) *devices.Problem {
	var status liberrors.ErrClientBadStatusCode
	switch {
	case errors.Is(err, errStalled):
		return problem("", CodeReplaySilent, "录像机在回放中停止发送，已取到的部分可用；请检查录像机是否达到回放路数上限", "the recorder stopped sending; what came until then stands. See whether it plays as many recordings as it can already")
	case errors.Is(err, errOutside):
		return problem("", CodeReplayOutside, "录像机发送的不是所要的时段，已停止；请核对录像机的时钟与时区（replay_zone）", "the recorder sends another time than was asked for and was stopped; check its clock and its zone (replay_zone)")
	case errors.Is(err, errMany):
		return problem("", CodeReplayLarge, "该时段的录像过大，只取到前一部分；请缩短时段", "the recording of this interval is too large and was cut; ask for less at once")
	case errors.Is(err, errEnded):
		return problem("", CodeReplayBroken, "与录像机的连接中断，已取到的部分可用；请再试一次", "the connection to the recorder broke; what came until then stands. Try again")
	case !errors.As(err, &status):
		return nil
	}
	switch status.Code {
	case base.StatusNotFound, base.StatusInvalidRange:
		return nothingReplayed()
	case base.StatusOptionNotSupported, base.StatusNotImplemented, base.StatusMethodNotAllowed, base.StatusHeaderFieldNotValidForResource:
		return problem("", CodeReplayUnsupported, "录像机不支持按时间回放，请核对其 ONVIF 设置，或填写厂家的回放地址（replay_url）", "the recorder does not play its past by time; check its ONVIF settings, or give its maker's address for replay (replay_url)")
	case base.StatusUnauthorized, base.StatusForbidden, base.StatusUnsupportedTransport:
		return nil
	}
	return problem("", CodeReplayRefused, fmt.Sprintf("录像机以状态码 %d 拒绝回放：可能没有该时段的录像，或已达回放路数上限", int(status.Code)), fmt.Sprintf("the recorder refused to play with status %d: it may keep nothing of this interval, or play as many recordings as it can already", int(status.Code)))
}

// nothingReplayed says that the recorder has nothing to show.
func nothingReplayed() *devices.Problem {
	p := problem("", CodeReplayNothing, "录像机没有该时段的录像", "the recorder keeps nothing of this interval")
	p.Kind = devices.ErrNotFound
	return p
}
