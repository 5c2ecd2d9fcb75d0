package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"offsite/devices"
	"offsite/devices/registry/table"
	"offsite/gateway/api/contract"
)

// devicesCommand moves what is registered in and out as CSV. It goes through the
// API of a running gateway, not into its state: only so are rights checked, the
// acts written into the trail and the drivers told, and nothing has to stop.
type devicesCommand struct {
	Import devicesImport `cmd:"" help:"Take over CSV tables. 导入 CSV"`
	Export devicesExport `cmd:"" help:"Write CSV tables, without passwords. 导出 CSV（不含密码）"`
}

// collections are the paths of the API in an order in which each refers only to
// those before it.
var collections = []string{"entities", "sites", "outlets", "points", "devices", "bindings", "cameras", "limits"}

// gatewayAccess is how to reach a running gateway.
type gatewayAccess struct {
	API         string         `name:"api" help:"The gateway's address. 网关地址" default:"https://127.0.0.1:8443" env:"OFFSITE_API" placeholder:"URL"`
	Token       devices.Secret `help:"A token of the API; better given in the environment. 令牌" env:"OFFSITE_TOKEN" placeholder:"TOKEN"`
	Fingerprint string         `help:"SHA-256 of the gateway's certificate, as it prints it at start. 证书指纹" placeholder:"HEX"`
	CA          string         `name:"ca" help:"Certificate to trust besides the system's. 信任的证书" type:"existingfile" placeholder:"FILE"`
}

type devicesImport struct {
	gatewayAccess
	Path     string `arg:"" help:"A table, - for standard input, or a directory of tables such as devices.csv. 文件或目录"`
	Kind     string `help:"What the table holds. 对象类型" default:"devices" enum:"entities,sites,outlets,points,devices,bindings,cameras,limits"`
	DryRun   bool   `help:"Tell what would happen and change nothing. 试运行"`
	ByRow    bool   `help:"Take the good rows although others are bad. 逐行导入"`
	Encoding string `help:"utf-8 or gb18030; by itself it takes what fits. 编码" enum:",utf-8,gb18030" default:""`
}

type devicesExport struct {
	gatewayAccess
	Kind      string `help:"What to write, or all. 对象类型" default:"devices" enum:"entities,sites,outlets,points,devices,bindings,cameras,limits,all"`
	Output    string `help:"File, or directory for all; without it standard output. 输出文件或目录" type:"path" placeholder:"PATH"`
	Site      string `help:"Only of this site. 只导出该场所" placeholder:"ID"`
	Encoding  string `help:"utf-8 or gb18030. 编码" enum:"utf-8,gb18030" default:"utf-8"`
	Semicolon bool   `help:"Between cells, not commas. 用分号分隔"`
}

// errRows says that a table was not, or not whole, taken over; its faults have
// been told.
var errRows = devices.Invalid("", "rows_at_fault", "有的行未导入，见上", "some rows were not taken over, see above")

// Run imports one table or a directory of them and tells what became of each.
func (c *devicesImport) Run(ctx context.Context, s streamsOut) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	if info, err := os.Stat(c.Path); err == nil && info.IsDir() {
		return c.directory(ctx, s, client)
	}
	text, err := readAll(c.Path)
	if err != nil {
		return err
	}
	return c.table(ctx, s, client, c.Kind, c.Path, text)
}

// directory imports every table there, and stops at the first that is not whole:
// others may refer to it.
func (c *devicesImport) directory(ctx context.Context, s streamsOut, client *http.Client) error {
	found := 0
	for _, kind := range collections {
		name := filepath.Join(c.Path, kind+".csv")
		text, err := readAll(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		found++
		if err := c.table(ctx, s, client, kind, name, text); err != nil {
			return err
		}
	}
	if found == 0 {
		return devices.Invalid("", "nothing_found", "目录中没有 devices.csv 之类的文件", "the directory holds no tables such as devices.csv")
	}
	return nil
}

func readAll(name string) ([]byte, error) {
	in := io.Reader(os.Stdin)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, tableUnread(name, err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, table.Max+1))
	if err != nil {
		return nil, tableUnread(name, err)
	}
	return text, nil
}

func tableUnread(name string, err error) error {
	return &devices.Problem{
		Kind: devices.ErrNotFound, Code: "file_unread", Field: "path", Cause: err,
		ZH: "无法读取 " + name + "，请检查路径和权限", EN: name + " cannot be read; check path and permissions",
	}
}

// written tells why a table could not be written, if it was not.
func written(err error) error {
	if err == nil {
		return nil
	}
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "file_unwritten", Field: "--output", Cause: err,
		ZH: "无法写入，请检查目录、权限和磁盘空间", EN: "cannot be written; check directory, permissions and the space on the disk",
	}
}

func (c *devicesImport) table(ctx context.Context, s streamsOut, client *http.Client, kind, name string, text []byte) error {
	query := url.Values{}
	if c.DryRun {
		query.Set("dry_run", "true")
	}
	if c.ByRow {
		query.Set("mode", "row")
	}
	if c.Encoding != "" {
		query.Set("encoding", c.Encoding)
	}
	answer, err := c.call(ctx, client, http.MethodPost, "/import/"+kind, query, text)
	if err != nil {
		return err
	}
	var r contract.ImportResult
	if err := json.Unmarshal(answer, &r); err != nil {
		return fmt.Errorf("answer of the gateway: %w", err)
	}
	for _, f := range r.Faults {
		fmt.Fprintf(s.err, "%s:%d: %s / %s\n", name, f.Line, f.Zh, f.En)
	}
	if r.MoreFaults > 0 {
		fmt.Fprintf(s.err, "%s: 另有 %d 处 / and %d more\n", name, r.MoreFaults, r.MoreFaults)
	}
	state := "未更改 / nothing changed"
	if r.Stored {
		state = "已导入 / taken over"
	}
	fmt.Fprintf(s.out, "%s: %d rows, %d created, %d replaced, %d unchanged, %d faults: %s\n", kind, r.Rows, r.Created, r.Replaced, r.Unchanged, len(r.Faults)+r.MoreFaults, state)
	if len(r.Faults) > 0 {
		return errRows
	}
	return nil
}

// Run exports one table, or all into a directory.
func (c *devicesExport) Run(ctx context.Context, s streamsOut) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	if c.Kind != "all" {
		text, err := c.table(ctx, client, c.Kind)
		if err != nil {
			return err
		}
		if c.Output == "" {
			_, err = s.out.Write(text)
			return err
		}
		return written(os.WriteFile(c.Output, text, 0o600))
	}
	if c.Output == "" {
		return devices.Invalid("--output", "missing", "导出全部时请给出目录", "name a directory to write all tables into")
	}
	if err := written(os.MkdirAll(c.Output, 0o700)); err != nil {
		return err
	}
	for _, kind := range collections {
		text, err := c.table(ctx, client, kind)
		if err != nil {
			return err
		}
		if err := written(os.WriteFile(filepath.Join(c.Output, kind+".csv"), text, 0o600)); err != nil {
			return err
		}
	}
	return nil
}

func (c *devicesExport) table(ctx context.Context, client *http.Client, kind string) ([]byte, error) {
	query := url.Values{"encoding": {c.Encoding}}
	if c.Site != "" {
		query.Set("site", c.Site)
	}
	if c.Semicolon {
		query.Set("separator", "semicolon")
	}
	return c.call(ctx, client, http.MethodGet, "/export/"+kind+".csv", query, nil)
}

// client gives an HTTP client that sends the token to nobody but the gateway.
func (g *gatewayAccess) client() (*http.Client, error) {
	u, err := url.Parse(g.API)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" || u.User != nil {
		return nil, devices.Invalid("--api", "bad_address", "地址须形如 https://127.0.0.1:8443", "write the address like https://127.0.0.1:8443")
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, devices.Invalid("--api", "plain_off_loopback", "不加密的 HTTP 只用于本机；请用 https://", "plain HTTP is for this machine alone; use https://")
	}
	if g.Token == "" {
		return nil, devices.Invalid("--token", "missing", "请以环境变量 OFFSITE_TOKEN 给出令牌（由管理员在控制台签发）", "give a token in the environment, OFFSITE_TOKEN; an administrator issues it in the console")
	}
	config, err := g.trust()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{TLSClientConfig: config, Proxy: http.ProxyFromEnvironment}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &http.Client{Transport: transport, Timeout: 2 * time.Minute, CheckRedirect: stay}, nil
}

// trust knows the gateway's own certificate by its fingerprint or from a file.
func (g *gatewayAccess) trust() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if g.CA != "" {
		pem, err := os.ReadFile(g.CA)
		if err != nil {
			return nil, fmt.Errorf("read certificate: %w", err)
		}
		if config.RootCAs, err = x509.SystemCertPool(); err != nil {
			config.RootCAs = x509.NewCertPool()
		}
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, devices.Invalid("--ca", "bad_certificate", "文件中没有 PEM 证书", "the file holds no PEM certificate")
		}
	}
	if g.Fingerprint == "" {
		return config, nil
	}
	want, err := hex.DecodeString(strings.NewReplacer(":", "", " ", "").Replace(g.Fingerprint))
	if err != nil || len(want) != sha256.Size {
		return nil, devices.Invalid("--fingerprint", "bad_fingerprint", "指纹须为 64 个十六进制字符", "a fingerprint has 64 hexadecimal characters")
	}
	config.InsecureSkipVerify = true // the fingerprint says more than a chain
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if got := sha256.Sum256(state.PeerCertificates[0].Raw); !bytes.Equal(got[:], want) {
			return devices.Invalid("--fingerprint", "other_certificate", "网关的证书与指纹不符", "the gateway's certificate does not have this fingerprint")
		}
		return nil
	}
	return config, nil
}

// call makes one request and gives the answer's body; a refusal comes as
// Problems.
func (g *gatewayAccess) call(ctx context.Context, client *http.Client, method, path string, query url.Values, body []byte) ([]byte, error) {
	address := strings.TrimSuffix(strings.TrimSuffix(g.API, "/"), contract.Base) + contract.Base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask the gateway: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+g.Token.Reveal())
	if body != nil {
		r.Header.Set("Content-Type", "text/csv")
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, unreached(err)
	}
	defer func() { _ = resp.Body.Close() }()
	const mostAnswer = 64 << 20
	text, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	if err != nil {
		return nil, unreached(err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, refusal(resp.StatusCode, text)
	}
	return text, nil
}

func unreached(err error) error {
	var p *devices.Problem
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &untrusted):
		return &devices.Problem{
			Code: "untrusted", Field: "--fingerprint", Cause: err,
			ZH: "网关的证书不受信任；请用 --fingerprint 给出网关启动时打印的指纹，或用 --ca 给出证书", EN: "the gateway's certificate is not trusted; give the fingerprint that it prints at start, or the certificate with --ca",
		}
	default:
		return &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "unreached", Field: "--api", Cause: err,
			ZH: "网关没有应答，请核对地址以及网关是否在运行", EN: "the gateway does not answer; check the address and whether it runs",
		}
	}
}

// refusal turns an RFC 9457 body back into Problems.
func refusal(status int, text []byte) error {
	var body contract.Problem
	if json.Unmarshal(text, &body) != nil || body.Code == "" {
		return &devices.Problem{Code: "refused", ZH: fmt.Sprintf("网关回答 %d，其地址可能不是网关", status), EN: fmt.Sprintf("the answer was %d; the address may not be a gateway's", status)}
	}
	var ps devices.Problems
	for _, f := range body.Errors {
		ps.Add(devices.Invalid(f.Field, f.Code, f.Zh, f.En))
	}
	if len(ps) == 0 {
		ps.Add(devices.Invalid(body.Field, body.Code, body.Zh, body.En))
	}
	return ps
}
