package onvif

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // of the WS-UsernameToken profile
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/icholy/digest"

	"offsite/devices"
)

// The namespaces of what is asked.
const (
	nsDevice = "http://www.onvif.org/ver10/device/wsdl"
	nsMedia  = "http://www.onvif.org/ver10/media/wsdl"
	nsMedia2 = "http://www.onvif.org/ver20/media/wsdl"
	nsPTZ    = "http://www.onvif.org/ver20/ptz/wsdl"
	nsEvents = "http://www.onvif.org/ver10/events/wsdl"
	nsReplay = "http://www.onvif.org/ver10/replay/wsdl"
	nsSearch = "http://www.onvif.org/ver10/search/wsdl"
	nsSchema = "http://www.onvif.org/ver10/schema"
	nsNotify = "http://docs.oasis-open.org/wsn/b-2"
	nsSOAP   = "http://www.w3.org/2003/05/soap-envelope"
	nsAddr   = "http://www.w3.org/2005/08/addressing"
	nsWSS    = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
	nsWSU    = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
	wssToken = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordDigest"
	wssBase  = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary"
)

// request is one call. body is what stands in soap:Body, with the prefixes w (the
// service) and tt (the schema) declared.
type request struct {
	to     string // address, pinned
	space  string // namespace of the service
	action string // for WS-Addressing; empty: no addressing
	body   string
	header string        // more header elements
	open   bool          // needs no user
	wait   time.Duration // beyond the timeout
}

// challenge is that of HTTP digest, how often it was answered, and whether the
// camera took the answer.
type challenge struct {
	digest.Challenge
	count int
	taken bool
}

// call sends the request and gives the first element of the answer's body. Its
// error is a Problem.
func (c *Client) call(ctx context.Context, r request) (*element, error) {
	answer, err := c.try(ctx, r)
	if err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, context.Cause(ctx)
		}
		return nil, c.explain(err)
	}
	return answer, nil
}

// try sends the request, and once more by HTTP digest where the camera asks for
// that. A camera that refuses the password is not asked again.
func (c *Client) try(ctx context.Context, r request) (*element, error) {
	c.mu.Lock()
	refused, known := c.refused, c.digest
	again := known == nil || known.taken // a nonce that was good has merely grown old
	c.mu.Unlock()
	if refused && !r.open {
		return nil, errRefused
	}
	answer, fresh, err := c.send(ctx, r, known)
	if errors.Is(err, errRefused) && fresh != nil && c.username != "" && again {
		c.mu.Lock()
		c.digest = fresh
		c.mu.Unlock()
		answer, _, err = c.send(ctx, r, fresh)
	}
	if errors.Is(err, errRefused) && !r.open {
		c.mu.Lock()
		c.refused = true
		c.mu.Unlock()
	}
	return answer, err
}

// send makes one HTTP exchange.
func (c *Client) send(ctx context.Context, r request, known *challenge) (*element, *challenge, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout+r.wait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.to, bytes.NewReader(c.envelope(&r, known != nil)))
	if err != nil {
		return nil, nil, err
	}
	kind := "application/soap+xml; charset=utf-8"
	if r.action != "" {
		kind += `; action="` + r.action + `"`
	}
	req.Header.Set("Content-Type", kind)
	if known != nil {
		if err := c.authorize(req, known); err != nil {
			return nil, nil, err
		}
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusUnauthorized {
		_, _ = io.CopyN(io.Discard, res.Body, 4<<10)
		found, err := digest.FindChallenge(res.Header)
		if err != nil {
			return nil, nil, errRefused
		}
		return nil, &challenge{Challenge: *found}, errRefused
	}
	document, err := parse(res.Body)
	if err != nil {
		return nil, nil, fmt.Errorf("HTTP %d: %w", res.StatusCode, err)
	}
	answer, err := open(document)
	if known != nil && !errors.Is(err, errRefused) {
		c.mu.Lock()
		known.taken = true
		c.mu.Unlock()
	}
	return answer, nil, err
}

// authorize answers the challenge.
func (c *Client) authorize(req *http.Request, known *challenge) error {
	c.mu.Lock()
	known.count++
	count := known.count
	c.mu.Unlock()
	credentials, err := digest.Digest(&known.Challenge, digest.Options{
		Method: req.Method, URI: req.URL.RequestURI(), Count: count, Username: c.username, Password: c.password.Reveal(),
	})
	if err != nil {
		return fmt.Errorf("digest: %w", err)
	}
	req.Header.Set("Authorization", credentials.String())
	return nil
}

// open takes the answer out of its envelope, or the fault.
func open(document *element) (*element, error) {
	body := document.at("Body")
	if document.name != "Envelope" || body == nil || len(body.children) == 0 {
		return nil, fmt.Errorf("%w: it is no SOAP envelope", errGarbled)
	}
	answer := body.children[0]
	if answer.name != "Fault" {
		return answer, nil
	}
	f := &fault{reason: answer.value("Reason", "Text")}
	if f.reason == "" { // SOAP 1.1
		f.reason = answer.value("faultstring")
	}
	for code := answer.at("Code"); code != nil; code = code.at("Subcode") {
		f.codes = append(f.codes, local(code.value("Value")))
	}
	if len(f.codes) == 0 {
		f.codes = []string{local(answer.value("faultcode"))}
	}
	if f.is("NotAuthorized") || f.is("FailedAuthentication") || f.is("InvalidSecurityToken") || strings.Contains(strings.ToLower(f.reason), "not authorized") {
		return nil, fmt.Errorf("%w: %w", errRefused, f)
	}
	return nil, f
}

// local is a name without its prefix.
func local(name string) string { return name[strings.LastIndexByte(name, ':')+1:] }

// envelope writes the request. digested says that HTTP tells who asks.
func (c *Client) envelope(r *request, digested bool) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="%s" xmlns:a="%s" xmlns:tt="%s" xmlns:w="%s"><s:Header>`, nsSOAP, nsAddr, nsSchema, r.space)
	if r.action != "" {
		fmt.Fprintf(&b, `<a:Action s:mustUnderstand="1">%s</a:Action><a:MessageID>urn:uuid:%s</a:MessageID><a:To s:mustUnderstand="1">%s</a:To>`, r.action, uuid(), escape(r.to))
	}
	if !r.open && !digested && c.username != "" {
		b.WriteString(c.token())
	}
	b.WriteString(r.header)
	fmt.Fprintf(&b, `</s:Header><s:Body>%s</s:Body></s:Envelope>`, r.body)
	return b.Bytes()
}

// token is the WS-UsernameToken: Base64(SHA-1(nonce + created + password)).
func (c *Client) token() string {
	c.mu.Lock()
	now := time.Now()
	if c.clock != nil {
		now = now.Add(c.clock.Offset)
	}
	c.mu.Unlock()
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // never fails
	created := now.UTC().Format("2006-01-02T15:04:05.000Z")
	return token(c.username, c.password, nonce, created)
}

func token(username string, password devices.Secret, nonce []byte, created string) string {
	h := sha1.New() //nolint:gosec // the profile's
	h.Write(nonce)
	h.Write([]byte(created + password.Reveal()))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf(`<o:Security xmlns:o="%s" s:mustUnderstand="1"><o:UsernameToken><o:Username>%s</o:Username><o:Password Type="%s">%s</o:Password><o:Nonce EncodingType="%s">%s</o:Nonce><u:Created xmlns:u="%s">%s</u:Created></o:UsernameToken></o:Security>`,
		nsWSS, escape(username), wssToken, encode(h.Sum(nil)), wssBase, encode(nonce), nsWSU, created)
}

// uuid is a random one, RFC 9562 version 4.
func uuid() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
