package push

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"offsite/streams"
)

// mostAnswer bounds what is read of an answer.
const mostAnswer = 64 << 10

// payloadType is of the only codec that is offered.
const payloadType = 96

// httpClient gives a client without redirects, proxies or memory. done ends it.
func httpClient(cfg Config) (client *http.Client, done func()) {
	t := &http.Transport{
		DialContext: cfg.Dial, TLSClientConfig: cfg.TLS, TLSHandshakeTimeout: cfg.Timeout, ResponseHeaderTimeout: cfg.Timeout,
		MaxResponseHeaderBytes: mostAnswer, DisableCompression: true, ForceAttemptHTTP2: true,
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &http.Client{Transport: t, CheckRedirect: stay, Timeout: 2 * cfg.Timeout}, t.CloseIdleConnections
}

// codecOf is what is offered for a stream.
func codecOf(p *streams.Parameters) (webrtc.RTPCodecParameters, error) {
	c := webrtc.RTPCodecParameters{PayloadType: payloadType, RTPCodecCapability: webrtc.RTPCodecCapability{
		ClockRate:    streams.TickRate,
		RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}},
	}}
	switch {
	case p.Codec == streams.H264 && len(p.SPS) > 3:
		c.MimeType = webrtc.MimeTypeH264
		c.SDPFmtpLine = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=" + hex.EncodeToString(p.SPS[1:4])
	case p.Codec == streams.H265 && len(p.SPS) > 3:
		c.MimeType = webrtc.MimeTypeH265
		// general_profile_idc behind the unit's header and one byte, H.265 7.3.3.
		c.SDPFmtpLine = fmt.Sprintf("profile-id=%d;tx-mode=SRST", p.SPS[3]&0x1f)
	default:
		return c, streams.CodecNotPushed(p.Codec)
	}
	return c, nil
}

// negotiate posts the offer and takes the answer. resource is what is to be
// deleted at the end, nil where the receiver gave none.
func (s *session) negotiate(ctx context.Context) (resource *url.URL, err error) {
	offer, err := s.peer.CreateOffer(nil)
	if err != nil {
		return nil, lost(err)
	}
	complete := webrtc.GatheringCompletePromise(s.peer)
	if err := s.peer.SetLocalDescription(offer); err != nil {
		return nil, lost(err)
	}
	select {
	case <-complete:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	answer, resource, err := s.post(ctx, s.peer.LocalDescription().SDP)
	if err != nil {
		return resource, err
	}
	answer, left, err := allowed(answer, s.may)
	if err != nil {
		return resource, badAnswer(s.to.URL.Host, err)
	}
	if left == 0 {
		return resource, elsewhere(s.to.URL.Host)
	}
	if err := s.peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		return resource, badAnswer(s.to.URL.Host, err)
	}
	return resource, nil
}

// post sends the offer. The token goes to this address alone.
func (s *session) post(ctx context.Context, offer string) (answer string, resource *url.URL, err error) {
	resp, err := s.request(ctx, http.MethodPost, s.to.URL, offer)
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	if resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusOK {
		return "", nil, refusedBy(s.to.URL.Host, resp.StatusCode)
	}
	if at := resp.Header.Get("Location"); at != "" {
		if resource, _ = s.to.URL.Parse(at); resource != nil && (resource.Scheme != s.to.URL.Scheme || resource.Host != s.to.URL.Host) {
			resource = nil // the token is not for others
		}
	}
	if err != nil {
		return "", resource, lost(err)
	}
	return string(body), resource, nil
}

func (s *session) request(ctx context.Context, method string, to *url.URL, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, to.String(), bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, lost(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/sdp")
	}
	req.Header.Set("Accept", "application/sdp")
	req.Header.Set("User-Agent", "offsite")
	if token := s.to.Secret.Reveal(); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, unreachable(s.to.URL.Host, err)
	}
	return resp, nil
}

// bye ends the session at the receiver, also where ctx has ended.
func (s *session) bye(ctx context.Context, resource *url.URL) {
	if resource == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), byeWithin)
	defer cancel()
	resp, err := s.request(ctx, http.MethodDelete, resource, "")
	if err != nil {
		s.cfg.Log.DebugContext(ctx, "media server was not told of the end", "err", err)
		return
	}
	_ = resp.Body.Close()
}

// allowed takes the candidates whose addresses may not be sent to out of an
// answer, and tells how many are left. Names are not looked up.
func allowed(answer string, may func(netip.Addr) bool) (_ string, left int, err error) {
	var d sdp.SessionDescription
	if err := d.UnmarshalString(answer); err != nil {
		return "", 0, err
	}
	keep := func(list []sdp.Attribute) []sdp.Attribute {
		var kept []sdp.Attribute
		for _, a := range list {
			if a.Key == "candidate" {
				if at, ok := candidate(a.Value); !ok || !may(at) {
					continue
				}
				left++
			}
			kept = append(kept, a)
		}
		return kept
	}
	d.Attributes = keep(d.Attributes)
	for _, m := range d.MediaDescriptions {
		m.Attributes = keep(m.Attributes)
	}
	text, err := d.Marshal()
	return string(text), left, err
}

// candidate reads the address of a candidate line (RFC 8839, 5.1).
func candidate(value string) (netip.Addr, bool) {
	fields := strings.Fields(value)
	if len(fields) < 8 {
		return netip.Addr{}, false
	}
	if _, err := strconv.ParseUint(fields[5], 10, 16); err != nil {
		return netip.Addr{}, false
	}
	at, err := netip.ParseAddr(fields[4])
	return at.Unmap().WithZone(""), err == nil
}
