package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/icholy/digest"

	"offsite/devices"
	"offsite/streams"
)

// maxFetch bounds what is read of a still address.
const maxFetch = 16 << 20

// fetch takes the picture of the camera's still address. The password goes out
// only when the camera asks for it, as a digest where the camera knows that.
func (t *Taker) fetch(ctx context.Context, camera devices.Camera) (streams.Still, error) {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	transport := &http.Transport{DialContext: t.cfg.Dial, DisableKeepAlives: true, ResponseHeaderTimeout: t.cfg.Timeout, MaxResponseHeaderBytes: 64 << 10}
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport: transport,
		// A redirect could carry the password, or the request, anywhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := ask(ctx, client, camera)
	if err != nil {
		return streams.Still{}, scrub(err, camera)
	}
	defer drain(res)
	at := time.Now() // the camera has taken its picture when it begins to answer
	if res.StatusCode != http.StatusOK {
		return streams.Still{}, fmt.Errorf("still address: %s", res.Status)
	}
	picture, err := io.ReadAll(io.LimitReader(res.Body, maxFetch+1))
	if err != nil {
		return streams.Still{}, scrub(err, camera)
	}
	if len(picture) > maxFetch {
		return streams.Still{}, fmt.Errorf("still address: more than %d MiB", maxFetch>>20)
	}
	if err := t.turn.Acquire(ctx, 1); err != nil {
		return streams.Still{}, err
	}
	img, err := decodeJPEG(picture)
	t.turn.Release(1)
	if err != nil {
		return streams.Still{}, fmt.Errorf("still address: %w", err)
	}
	b := img.Bounds()
	return streams.Still{JPEG: picture, At: at, Width: b.Dx(), Height: b.Dy(), Step: StepCamera}, nil
}

// ask sends the request, and sends it again with the authorization that a first
// refusal asks for.
func ask(ctx context.Context, client *http.Client, camera devices.Camera) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, camera.StillURL, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "image/jpeg")
	res, err := client.Do(req)
	if err != nil || res.StatusCode != http.StatusUnauthorized || camera.Username == "" {
		return res, err
	}
	authorization, err := answer(res, camera)
	drain(res)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", authorization)
	return client.Do(req)
}

// answer makes the Authorization header that the refusal asks for.
func answer(res *http.Response, camera devices.Camera) (string, error) {
	if challenge, err := digest.FindChallenge(res.Header); err == nil {
		c, err := digest.Digest(challenge, digest.Options{
			Method: http.MethodGet, URI: res.Request.URL.RequestURI(), Count: 1,
			Username: camera.Username, Password: camera.Password.Reveal(),
		})
		if err != nil {
			return "", fmt.Errorf("digest: %w", err)
		}
		return c.String(), nil
	}
	if !strings.HasPrefix(strings.ToLower(res.Header.Get("WWW-Authenticate")), "basic") {
		return "", errors.New("still address asks for an unknown kind of authentication")
	}
	req := &http.Request{Header: http.Header{}}
	req.SetBasicAuth(camera.Username, camera.Password.Reveal())
	return req.Header.Get("Authorization"), nil
}

func drain(res *http.Response) {
	_, _ = io.CopyN(io.Discard, res.Body, 4<<10)
	_ = res.Body.Close()
}

func scrub(err error, camera devices.Camera) error {
	return errors.New("still address: " + devices.Scrub(err.Error(), camera.Password))
}
