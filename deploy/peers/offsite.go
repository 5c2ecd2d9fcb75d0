package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"
)

// Build compiles the gateway from the tree into dir and gives the binary's path.
func Build(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "offsite")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "offsite/cmd/offsite")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build offsite: %w\n%s", err, out)
	}
	return binary, nil
}

// Offsite is a gateway that runs as a process, with a token for its API.
type Offsite struct {
	*Process
	API    string // base address, ends in /api/v1
	Broker string // host:port of the embedded broker
	Token  string
	Out    *Output
	State  string

	binary, http, config string
	encrypted            bool // the configuration names where HTTP and HTTPS are served
}

// StartOffsite starts `offsite serve` on the state directory with the YAML
// added to its configuration, makes the first person and a token.
func StartOffsite(ctx context.Context, binary, dir, state, yaml string) (*Offsite, error) {
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	mqtt, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	o := &Offsite{
		API: "http://" + addr + "/api/v1", Broker: mqtt, Out: &Output{}, State: state,
		binary: binary, http: addr, config: filepath.Join(dir, "offsite.yaml"),
	}
	text := fmt.Sprintf("state: %s\nbroker:\n  listen: %s\ndevices:\n  networks: private, loopback\n%s", state, mqtt, yaml)
	if err := os.WriteFile(o.config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	if err := o.Start(ctx); err != nil {
		return nil, err
	}
	return o, o.setUp(ctx)
}

// Start starts the gateway again on its old ports and state.
func (o *Offsite) Start(ctx context.Context) (err error) {
	args := []string{"serve", "--config", o.config}
	if !o.encrypted {
		args = append(args, "--http", o.http)
	}
	o.Process, err = start(o.Out, nil, o.binary, args...)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	base := o.API[:len(o.API)-len("/api/v1")]
	err = Await(ctx, func() error {
		select {
		case <-o.Done():
			return fmt.Errorf("offsite ended: %s", o.Out)
		default:
		}
		return getJSON(ctx, http.DefaultClient, http.MethodGet, base+"/readyz", nil, nil, nil)
	})
	if err != nil {
		return fmt.Errorf("offsite is not ready: %w\n%s", err, o.Out)
	}
	return nil
}

// Encrypt has the gateway serve HTTPS beside HTTP, at an address of its own, from its
// next start on. Its configuration must not have a section gateway yet.
func (o *Offsite) Encrypt() (address string, err error) {
	if address, err = FreeAddr(); err != nil {
		return "", err
	}
	text, err := os.ReadFile(o.config)
	if err != nil {
		return "", err
	}
	o.encrypted = true
	return address, os.WriteFile(o.config, fmt.Appendf(text, "\ngateway:\n  listen: %s\n  http: %s\n", address, o.http), 0o600)
}

var setupToken = regexp.MustCompile(`(?m)^setup token[^:]*: *([A-Za-z0-9_-]{16,})`)

// setUp walks the way of a newcomer: the printed token makes the first person,
// whose session makes a token for programs.
func (o *Offsite) setUp(ctx context.Context) error {
	found := setupToken.FindStringSubmatch(o.Out.String())
	if found == nil {
		return fmt.Errorf("no set-up token was printed: %s", o.Out)
	}
	password := "Gateway-" + found[1][:8] + "-1a"
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	client := &http.Client{Jar: jar}
	person := map[string]string{"token": found[1], "id": "admin", "name": "管理员", "password": password}
	if err := getJSON(ctx, client, http.MethodPost, o.API+"/setup", nil, person, nil); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	var made struct {
		Secret string `json:"secret"`
	}
	err = getJSON(ctx, client, http.MethodPost, o.API+"/tokens", nil, map[string]any{"name": "test", "role": "administrator"}, &made)
	if err != nil {
		return fmt.Errorf("make token: %w", err)
	}
	o.Token = made.Secret
	return nil
}

// Do calls the API: method, path below /api/v1, the body if any; the answer
// goes into v if that is not nil.
func (o *Offsite) Do(ctx context.Context, method, path string, body, v any) error {
	return getJSON(ctx, http.DefaultClient, method, o.API+path, map[string]string{"Authorization": "Bearer " + o.Token}, body, v)
}

// getJSON is one request; a status of 300 and above is an error that quotes
// the answer.
func getJSON(ctx context.Context, client *http.Client, method, address string, header map[string]string, body, v any) error {
	var send io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		send = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, send)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, value := range header {
		req.Header.Set(k, value)
	}
	answer, err := client.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, address, err)
	}
	if answer.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %.500s", method, address, answer.Status, text)
	}
	if v == nil {
		return nil
	}
	if raw, ok := v.(*[]byte); ok {
		*raw = text
		return nil
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("%s %s: %w in %.200s", method, address, err, text)
	}
	return nil
}
