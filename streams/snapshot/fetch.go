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

// errPassword says that the camera has refused the registered user and password.
// Cameras lock an account that shows a wrong password a few times.
var errPassword = errors.New("user name or password refused")

// showing is what a camera's still address was shown.
type showing struct {
	url, username string
	password      devices.Secret
	version       int64
}

func showingOf(camera devices.Camera) showing {
	return showing{camera.StillURL, camera.Username, camera.Password, camera.Version}
}

// AskAgain has the camera's still address asked again that had refused the
// password. Whoever edits the camera has that as well.
func (t *Taker) AskAgain(camera string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.refused, camera)
	delete(t.shots, view{camera: camera})
}

// fetched gives the picture of the camera's still address, which is asked once however
// many want it; one that is younger than life serves as well. An asking that has
// begun goes on when its viewer leaves, for the next would show the password again.
func (t *Taker) fetched(ctx context.Context, camera devices.Camera, life time.Duration, width int) (streams.Still, error) {
	return t.once(ctx, view{camera: camera.ID}, showingOf(camera), life, width, func() (streams.Still, error) {
		return t.fetchAllowed(context.WithoutCancel(ctx), camera)
	})
}

// fetchAllowed is fetch unless the address has refused the same before.
func (t *Taker) fetchAllowed(ctx context.Context, camera devices.Camera) (streams.Still, error) {
	now := showingOf(camera)
	t.mu.Lock()
	before, refused := t.refused[camera.ID]
	t.mu.Unlock()
	if refused && before == now {
		return streams.Still{}, fmt.Errorf("still address: %w, and not asked again", errPassword)
	}
	still, err := t.fetch(ctx, camera)
	switch {
	case errors.Is(err, errPassword) && camera.ID != "": // without an id it is not registered
		t.mu.Lock()
		t.refused[camera.ID] = now
		t.mu.Unlock()
		t.cfg.Log.Warn("still address refused the password; it waits for a person", "camera", camera.ID)
	case err != nil:
		t.cfg.Log.Warn("still address gave no picture", "camera", camera.ID, "err", err)
	}
	return still, err
}

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
	res, shown, err := ask(ctx, client, camera)
	if err != nil {
		return streams.Still{}, scrub(err, camera)
	}
	defer drain(res)
	if shown && (res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden) {
		return streams.Still{}, fmt.Errorf("still address: %s: %w", res.Status, errPassword)
	}
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
// refusal asks for; shown says that it has.
func ask(ctx context.Context, client *http.Client, camera devices.Camera) (res *http.Response, shown bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, camera.StillURL, http.NoBody)
	if err != nil {
		return nil, false, err
	}
	req.Header.Set("Accept", "image/jpeg")
	res, err = client.Do(req)
	if err != nil || res.StatusCode != http.StatusUnauthorized || camera.Username == "" {
		return res, false, err
	}
	authorization, err := answer(res, camera)
	drain(res)
	if err != nil {
		return nil, false, err
	}
	req.Header.Set("Authorization", authorization)
	res, err = client.Do(req)
	return res, true, err
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
