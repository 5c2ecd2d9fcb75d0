package history

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"offsite/devices"
	"offsite/timeseries"
	"offsite/timeseries/influx"
	"offsite/timeseries/local"
)

// Config names the store of history.
type Config struct {
	Store     string           `yaml:"store"`     // local (the default) or influx
	Retention devices.Duration `yaml:"retention"` // age at which history is deleted; default 1095d, 0s keeps it for ever
	Influx    Influx           `yaml:"influx"`
}

// Influx is the connection to InfluxDB: org, bucket and token for 2.x,
// database, username and password for 1.8.
type Influx struct {
	URL      string         `yaml:"url"`
	Org      string         `yaml:"org"`
	Bucket   string         `yaml:"bucket"`
	Token    devices.Secret `yaml:"token"`
	Database string         `yaml:"database"`
	Username string         `yaml:"username"`
	Password devices.Secret `yaml:"password"`
}

// Defaults keeps three years in the embedded store.
func Defaults() Config {
	return Config{Store: "local", Retention: devices.Duration(1095 * 24 * time.Hour)}
}

// Validate tells every fault at once, each with its key path.
func (c *Config) Validate() error {
	var ps devices.Problems
	if c.Retention < 0 {
		ps.Add(devices.Invalid("history.retention", "out_of_range", "保存期须为零（永久）或正数", "a retention is zero (for ever) or more"))
	}
	switch c.Store {
	case "local":
	case "influx":
		c.Influx.validate(&ps)
	default:
		ps.Add(devices.Invalid("history.store", "not_one_of", "历史库须为 local 或 influx", "the store is local or influx"))
	}
	return ps.Err()
}

func (c *Influx) validate(ps *devices.Problems) {
	if !strings.HasPrefix(c.URL, "http://") && !strings.HasPrefix(c.URL, "https://") {
		ps.Add(devices.Invalid("history.influx.url", "bad_address", "地址须形如 http://127.0.0.1:8086", `write an address like "http://127.0.0.1:8086"`))
	}
	if c.Bucket == "" && c.Database == "" {
		ps.Add(devices.Invalid("history.influx.bucket", "missing", "请填写 bucket（2.x）或 database（1.8）", "give a bucket (2.x) or a database (1.8)"))
	}
	if c.Bucket != "" && c.Token == "" {
		ps.Add(devices.Invalid("history.influx.token", "missing", "InfluxDB 2.x 须填写 token", fmt.Sprintf("bucket %q needs a token", c.Bucket)))
	}
}

// OpenStore opens the store that c names. The embedded one has its keys in db
// under prefix and writes by commit, the log's: no write may follow one that
// failed.
func (c *Config) OpenStore(db *pebble.DB, prefix []byte, commit func(*pebble.Batch) error, logger *slog.Logger) (timeseries.Store, error) {
	if c.Store != "influx" {
		return local.Open(db, prefix, local.Config{Commit: commit, Log: logger})
	}
	to := &c.Influx
	return influx.Open(influx.Config{
		URL: to.URL, Org: to.Org, Bucket: to.Bucket, Token: to.Token,
		Database: to.Database, Username: to.Username, Password: to.Password, Log: logger,
	})
}
