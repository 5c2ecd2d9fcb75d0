package influx

import (
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"offsite/devices"
)

// Config says which server and where in it.
type Config struct {
	URL string // http(s)://host:8086

	// A server 2.x or 3 is addressed by organisation and bucket and opened by
	// a token; 1.8 by database, retention policy (empty: the default one) and,
	// where it asks for them, user and password. Give a bucket or a database.
	Org, Bucket               string
	Database, RetentionPolicy string
	Token                     devices.Secret
	Username                  string
	Password                  devices.Secret

	Lines     int               // in one request; default 5,000
	Timeout   time.Duration     // of one request; default 30 s
	Transport http.RoundTripper // default: one of its own, with the system's certificates
	Log       *slog.Logger
}

func (c *Config) setDefaults() {
	if c.Lines <= 0 {
		c.Lines = 5000
	}
	if c.Timeout <= 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Bucket == "" && c.Database != "" {
		c.Bucket = c.Database
		if c.RetentionPolicy != "" {
			c.Bucket += "/" + c.RetentionPolicy
		}
	}
	if c.Database == "" {
		c.Database, c.RetentionPolicy, _ = strings.Cut(c.Bucket, "/")
	}
	c.URL = strings.TrimRight(c.URL, "/")
}

// Validate tells every fault of c; fields are named as in the configuration.
func (c *Config) Validate() error {
	var ps devices.Problems
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		ps.Add(devices.Invalid("url", "bad_address", "地址须形如 http://192.168.1.20:8086", "write the address like http://192.168.1.20:8086"))
	case u.User != nil:
		ps.Add(devices.Invalid("url", "password_in_url", "地址中不得含用户名和密码，请填入单独的字段", "put user name and password into their own fields, not into the address"))
	}
	if c.Bucket == "" && c.Database == "" {
		ps.Add(devices.Invalid("bucket", "missing", "请填写存储桶（2.x）或数据库（1.8）", "give a bucket (2.x) or a database (1.8)"))
	}
	if c.Bucket != "" && c.Database != "" && c.Bucket != c.Database {
		ps.Add(devices.Invalid("database", "contradiction", "存储桶与数据库只填一个", "give either a bucket or a database"))
	}
	if c.Token != "" && c.Username != "" {
		ps.Add(devices.Invalid("token", "contradiction", "令牌与用户名只填一个", "give either a token or a user name"))
	}
	return ps.Err()
}

// authorization is the header that opens the server. 1.8 knows "Token
// user:password" too, but not with a space in either.
func (c *Config) authorization() string {
	switch {
	case c.Token != "":
		return "Token " + c.Token.Reveal()
	case c.Username != "":
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Password.Reveal()))
	default:
		return ""
	}
}
