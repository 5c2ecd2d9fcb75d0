package wire

import (
	"net/url"
	"strconv"
	"strings"
)

// Bounds of gortsplib's own reader.
const (
	mostHeaders = 200
	mostKey     = 500
	mostValue   = 2000
)

// message is an RTSP message (RFC 2326, section 4) as a camera sent it.
type message struct {
	first   string
	headers [][2]string // in order, keys as sent
	body    []byte
}

// parse reads the head. Lines without a colon and headers beyond what gortsplib
// reads are left out; a line that begins with a blank continues the one before
// (RFC 2326, 15.1).
func parse(lines []string) *message {
	m := &message{}
	if len(lines) > 0 {
		m.first, lines = lines[0], lines[1:]
	}
	for _, line := range lines {
		if line[0] == ' ' || line[0] == '\t' {
			if n := len(m.headers); n > 0 {
				m.headers[n-1][1] += " " + strings.TrimSpace(line)
			}
			continue
		}
		key, value, found := strings.Cut(line, ":")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if found && key != "" && len(key) <= mostKey && len(m.headers) < mostHeaders {
			m.headers = append(m.headers, [2]string{key, value})
		}
	}
	return m
}

// get gives the place of the first header of this name, -1 if there is none.
func (m *message) get(key string) int {
	for i := range m.headers {
		if strings.EqualFold(m.headers[i][0], key) {
			return i
		}
	}
	return -1
}

func (m *message) length() (int, error) {
	i := m.get("Content-Length")
	if i < 0 {
		return 0, nil
	}
	n, err := strconv.Atoi(m.headers[i][1])
	if err != nil || n < 0 {
		return 0, nil // as if none were there: what follows is rubbish and left out
	}
	if n > mostBody {
		return 0, ErrEndless
	}
	return n, nil
}

// mend makes of a camera's answer what gortsplib v4.16.2 reads:
//
//   - a status line without a reason, or of another version of the protocol
//   - a Session header with more than an id and a time
//   - a Transport header without channels, or that calls interleaved UDP
//   - a Content-Base that is no address, or of another host
//   - a description without Content-Type, and the description itself (mendSDP)
//
// A redirection to another host is made a refusal: the password is not for it.
func (m *message) mend(host string) {
	m.first = mendStatus(m.first)
	kept := m.headers[:0]
	for _, h := range m.headers {
		switch strings.ToLower(h[0]) {
		case "session":
			h[1] = mendSession(h[1])
		case "transport":
			h[1] = mendTransport(h[1])
		case "content-base":
			u, err := url.Parse(h[1])
			if err != nil || (u.Host != "" && u.Scheme != "rtsp" && u.Scheme != "rtsps") || (u.Host == "" && !strings.HasPrefix(h[1], "/")) {
				continue
			}
		case "location":
			if u, err := url.Parse(h[1]); err != nil || u.Hostname() != host {
				continue
			}
		case "content-length", "content-type":
			continue
		}
		if len(h[1]) <= mostValue {
			kept = append(kept, h)
		}
	}
	m.headers = kept
	if len(m.body) > 0 {
		if strings.Contains(string(m.body), "m=") {
			m.body = mendSDP(m.body)
			m.headers = append(m.headers, [2]string{"Content-Type", "application/sdp"})
		}
		m.headers = append(m.headers, [2]string{"Content-Length", strconv.Itoa(len(m.body))})
	}
}

func mendStatus(line string) string {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return line
	}
	reason := "-"
	if len(fields) > 2 {
		reason = strings.Join(fields[2:], " ")
		reason = reason[:min(len(reason), 200)]
	}
	return "RTSP/1.0 " + fields[1] + " " + reason
}

// mendSession keeps the id and a time that is a number of seconds.
func mendSession(value string) string {
	id, rest, _ := strings.Cut(value, ";")
	out := strings.TrimSpace(id)
	for part := range strings.SplitSeq(rest, ";") {
		key, seconds, _ := strings.Cut(strings.ReplaceAll(part, ":", "="), "=")
		n, err := strconv.ParseUint(strings.TrimSpace(seconds), 10, 16)
		if strings.EqualFold(strings.TrimSpace(key), "timeout") && err == nil {
			out += ";timeout=" + strconv.FormatUint(n, 10)
			break
		}
	}
	return out
}

// mendTransport repairs the answer to what this package asks for: UDP, or the
// channels 0 and 1.
func mendTransport(value string) string {
	value, _, _ = strings.Cut(value, ",") // one of several: the first
	var out []string
	tcp, channels := false, false
	for part := range strings.SplitSeq(value, ";") {
		part = strings.TrimSpace(part)
		key, _, _ := strings.Cut(strings.ToLower(part), "=")
		switch key {
		case "":
			continue
		case "interleaved":
			tcp, channels = true, true
		case "rtp/avp/tcp":
			tcp = true
		}
		out = append(out, part)
	}
	if !tcp {
		return strings.Join(out, ";")
	}
	kept := []string{"RTP/AVP/TCP"}
	for _, part := range out {
		key, _, _ := strings.Cut(strings.ToLower(part), "=")
		switch key {
		case "rtp/avp", "rtp/avp/tcp", "rtp/avp/udp", "source", "destination", "mode", "ttl", "port", "client_port", "server_port":
			continue // of no use on a connection, and often wrong
		}
		kept = append(kept, part)
	}
	if !channels {
		kept = append(kept, "interleaved=0-1")
	}
	return strings.Join(kept, ";")
}

// bytes gives the message as it goes over a connection.
func (m *message) bytes() []byte {
	var b strings.Builder
	b.WriteString(m.first + "\r\n")
	for _, h := range m.headers {
		b.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	b.WriteString("\r\n")
	return append([]byte(b.String()), m.body...)
}
