package peers

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Influx is a real InfluxDB 1.8.
type Influx struct {
	*Process
	URL      string
	Database string
	Out      *Output
	dir      string
	bind     string
}

// FindInfluxd gives the path of influxd, which deploy/test builds.
func FindInfluxd() (string, error) {
	if p := os.Getenv("OFFSITE_INFLUXD"); p != "" {
		return p, nil
	}
	if p := filepath.Join(Cache(), "bin", "influxd"); exists(p) {
		return p, nil
	}
	return exec.LookPath("influxd")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// StartInflux starts a server with its data in dir and makes the database.
func StartInflux(ctx context.Context, dir, database string) (*Influx, error) {
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	bind, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	i := &Influx{URL: "http://" + addr, Database: database, Out: &Output{}, dir: dir, bind: bind}
	if err := i.Start(ctx); err != nil {
		return nil, err
	}
	return i, i.Exec(ctx, "CREATE DATABASE "+database)
}

// Start starts the server again on its old port and data.
func (i *Influx) Start(ctx context.Context) error {
	influxd, err := FindInfluxd()
	if err != nil {
		return fmt.Errorf("influxd is built by deploy/test: %w", err)
	}
	i.Process, err = start(i.Out, []string{
		"INFLUXDB_REPORTING_DISABLED=true", "INFLUXDB_DATA_INDEX_VERSION=tsi1", "INFLUXDB_HTTP_FLUX_ENABLED=true",
		"INFLUXDB_META_DIR=" + filepath.Join(i.dir, "meta"), "INFLUXDB_DATA_DIR=" + filepath.Join(i.dir, "data"),
		"INFLUXDB_DATA_WAL_DIR=" + filepath.Join(i.dir, "wal"), "INFLUXDB_BIND_ADDRESS=" + i.bind,
		"INFLUXDB_HTTP_BIND_ADDRESS=" + strings.TrimPrefix(i.URL, "http://"),
	}, influxd, "-config", "/dev/null")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return Await(ctx, func() error { return getJSON(ctx, http.DefaultClient, http.MethodGet, i.URL+"/ping", nil, nil, nil) })
}

// Exec sends a statement to the server's own query interface.
func (i *Influx) Exec(ctx context.Context, statement string) error {
	return i.get(ctx, "/query?db="+url.QueryEscape(i.Database)+"&q="+url.QueryEscape(statement), nil)
}

// Query reads from the server's own query interface into v, a JSON shape.
func (i *Influx) Query(ctx context.Context, statement string, v any) error {
	return i.get(ctx, "/query?epoch=ms&db="+url.QueryEscape(i.Database)+"&q="+url.QueryEscape(statement), v)
}

func (i *Influx) get(ctx context.Context, path string, v any) error {
	return getJSON(ctx, http.DefaultClient, http.MethodPost, i.URL+path, nil, nil, v)
}
