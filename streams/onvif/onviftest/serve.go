package onviftest

import (
	"crypto/sha1" //nolint:gosec // of the WS-UsernameToken profile
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/icholy/digest"
)

// node is any element of a request.
type node struct {
	XMLName xml.Name
	Attrs   []xml.Attr `xml:",any,attr"`
	Text    string     `xml:",chardata"`
	Nodes   []node     `xml:",any"`
}

// find gives the first element of a name, depth first; nil if there is none.
func (n *node) find(name string) *node {
	for i := range n.Nodes {
		if n.Nodes[i].XMLName.Local == name {
			return &n.Nodes[i]
		}
		if f := n.Nodes[i].find(name); f != nil {
			return f
		}
	}
	return nil
}

func (n *node) text(name string) string {
	if f := n.find(name); f != nil {
		return strings.TrimSpace(f.Text)
	}
	return ""
}

func (n *node) number(element, attr string) float64 {
	if f := n.find(element); f != nil {
		for _, a := range f.Attrs {
			if a.Name.Local == attr {
				v, _ := strconv.ParseFloat(a.Value, 64) // what is no number does not move
				return v
			}
		}
	}
	return 0
}

// fault is an answer that refuses.
type fault struct{ code, subcode, reason string }

var (
	notAuthorized = &fault{"s:Sender", "ter:NotAuthorized", "Sender not Authorized"}
	notSupported  = &fault{"s:Receiver", "ter:ActionNotSupported", "Optional Action Not Implemented"}
	noSuch        = &fault{"s:Sender", "ter:InvalidArgVal", "no such subscription"}
)

// realm and nonce of the digest; a nonce of its own for each device is not
// needed to try a client.
const realm, nonce = "onviftest", "b5a1c0ffee"

func (d *Device) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	var envelope node
	if err == nil {
		err = xml.Unmarshal(body, &envelope)
	}
	content := envelope.find("Body")
	if err != nil || content == nil || len(content.Nodes) == 0 {
		http.Error(w, "no SOAP", http.StatusBadRequest)
		return
	}
	request := &content.Nodes[0]
	action := request.XMLName.Local
	d.mu.Lock()
	d.asked[action]++
	trouble := d.trouble
	d.mu.Unlock()
	if d.misbehaves(w, r, trouble) {
		return
	}
	if action != "GetSystemDateAndTime" && !d.admits(w, r, &envelope) {
		return
	}
	if trouble.Fault == action || trouble.Fault == "*" {
		d.answer(w, "", &fault{"s:Receiver", "ter:Action", "hardware failure"})
		return
	}
	answer, f := d.act(r, action, request, &envelope)
	d.answer(w, answer, f)
}

// misbehaves answers as a broken device does; false where it answers as usual.
func (d *Device) misbehaves(w http.ResponseWriter, r *http.Request, t Trouble) bool {
	if t.Deaf {
		<-r.Context().Done()
		return true
	}
	if t.Slow > 0 {
		select {
		case <-time.After(t.Slow):
		case <-r.Context().Done():
			return true
		}
	}
	switch {
	case t.Huge:
		for {
			if _, err := io.WriteString(w, strings.Repeat("<a>endless</a>", 1000)); err != nil {
				return true
			}
		}
	case t.Garbage != "":
		_, _ = io.WriteString(w, t.Garbage)
		return true
	}
	return false
}

// admits says whether the request's user is the device's, and answers where not.
func (d *Device) admits(w http.ResponseWriter, r *http.Request, envelope *node) bool {
	good := d.cfg.Auth == AuthNone ||
		(d.cfg.Auth != AuthDigest && d.tokenFits(envelope)) || (d.cfg.Auth != AuthToken && d.digestFits(r))
	if good {
		return true
	}
	d.mu.Lock()
	if envelope.find("UsernameToken") != nil && d.cfg.Auth != AuthDigest || r.Header.Get("Authorization") != "" {
		d.refused++
	}
	d.mu.Unlock()
	if d.cfg.Auth == AuthToken {
		d.answer(w, "", notAuthorized)
		return false
	}
	w.Header().Set("WWW-Authenticate", `Digest realm="`+realm+`", qop="auth", nonce="`+nonce+`", algorithm=MD5`)
	w.WriteHeader(http.StatusUnauthorized)
	return false
}

// tokenFits checks a WS-UsernameToken: its time must be near the device's.
func (d *Device) tokenFits(envelope *node) bool {
	given := envelope.find("UsernameToken")
	if given == nil {
		return false
	}
	created := given.text("Created")
	at, err := time.Parse(time.RFC3339, created)
	if err != nil || time.Now().Add(d.cfg.Ahead).Sub(at).Abs() > 5*time.Second {
		return false
	}
	salt, err := base64.StdEncoding.DecodeString(given.text("Nonce"))
	h := sha1.New() //nolint:gosec // the profile's
	h.Write(salt)
	h.Write([]byte(created + d.cfg.Password))
	return err == nil && given.text("Username") == d.cfg.Username && given.text("Password") == base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func (d *Device) digestFits(r *http.Request) bool {
	given, err := digest.ParseCredentials(r.Header.Get("Authorization"))
	if err != nil || given.Username != d.cfg.Username || given.Nonce != nonce || given.URI != r.URL.RequestURI() {
		return false
	}
	want, err := digest.Digest(&digest.Challenge{Realm: realm, Nonce: nonce, QOP: []string{"auth"}, Algorithm: "MD5"}, digest.Options{
		Method: r.Method, URI: given.URI, Count: given.Nc, Cnonce: given.Cnonce, Username: d.cfg.Username, Password: d.cfg.Password,
	})
	return err == nil && want.Response == given.Response
}

// namespaces are those of the prefixes in answers.
const namespaces = ` xmlns:tds="http://www.onvif.org/ver10/device/wsdl" xmlns:trt="http://www.onvif.org/ver10/media/wsdl" xmlns:tr2="http://www.onvif.org/ver20/media/wsdl"` +
	` xmlns:tse="http://www.onvif.org/ver10/search/wsdl" xmlns:trp="http://www.onvif.org/ver10/replay/wsdl" xmlns:tptz="http://www.onvif.org/ver20/ptz/wsdl" xmlns:tev="http://www.onvif.org/ver10/events/wsdl" xmlns:tt="http://www.onvif.org/ver10/schema"` +
	` xmlns:wsnt="http://docs.oasis-open.org/wsn/b-2" xmlns:wsa="http://www.w3.org/2005/08/addressing" xmlns:tns1="http://www.onvif.org/ver10/topics" xmlns:ter="http://www.onvif.org/ver10/error"`

var prefix = regexp.MustCompile(`(</?)([a-z0-9]+):`)

// answer writes the envelope around content, or around a fault, in the device's
// style.
func (d *Device) answer(w http.ResponseWriter, content string, f *fault) {
	status := http.StatusOK
	if f != nil {
		status = http.StatusInternalServerError
		if f == notAuthorized {
			status = http.StatusBadRequest
		}
		content = `<s:Fault><s:Code><s:Value>` + f.code + `</s:Value><s:Subcode><s:Value>` + f.subcode + `</s:Value></s:Subcode></s:Code><s:Reason><s:Text xml:lang="en">` + f.reason + `</s:Text></s:Reason></s:Fault>`
	}
	declared := ` xmlns:s="http://www.w3.org/2003/05/soap-envelope"` + namespaces
	content = `<s:Body>` + content + `</s:Body></s:Envelope>`
	switch d.cfg.Style {
	case Odd:
		content = prefix.ReplaceAllString(content, "${1}N-${2}:")
		declared = strings.ReplaceAll(declared, "xmlns:", "xmlns:N-")
		content = `<N-s:Envelope` + declared + `>` + content
	case Bare:
		content = `<Envelope>` + prefix.ReplaceAllString(content, "${1}")
	case Unbound:
		content = `<s:Envelope>` + content
	default:
		content = `<s:Envelope` + declared + `>` + content
	}
	w.Header().Set("Content-Type", "application/soap+xml; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?>`+content)
}

// host is what the device calls itself in addresses.
func (d *Device) host(port int) string {
	host := d.cfg.Foreign
	if host == "" {
		host, _, _ = net.SplitHostPort(d.listener.Addr().String())
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

func (d *Device) service(name string) string {
	return fmt.Sprintf("http://%s/onvif/%s", d.host(d.Port()), name)
}
