package hj212_test

import (
	"testing"
	"time"

	"offsite/devices"
	"offsite/devices/hj212"
)

// buried sends a frame to a host of the client and gives the dead letter that becomes of it.
func buried(t *testing.T, c hj212.Client, frame string) []byte {
	t.Helper()
	d := newDisk()
	l := dial(t, host(t, d, hj212.Config{}, c))
	l.send(realtime("20240102030405000", "1"))
	_ = l.heard()
	l.send(frame)
	d.await(t, "the letter", func() bool {
		n := len(d.got)
		return n > 0 && d.got[n-1].Letter != nil
	})
	got := d.deliveries()
	return got[len(got)-1].Letter.Payload
}

func TestDeadLettersAreReadAgain(t *testing.T) {
	received := time.Date(2024, 1, 2, 3, 4, 6, 0, time.UTC)
	at := beijing(2024, 1, 2, 3, 4, 5)
	const values = "DataTime=20240102030405;w01018-Rtd=12.5,w01018-Flag=N"
	tests := []struct {
		name  string
		frame string
		with  func(c *hj212.Client) // as it was
		mend  func(c *hj212.Client)
		code  string // still refused by that
	}{
		{
			"a kind of system that was not allowed", frame("20240102030405001", "ST=31;CN=2011;PW=123456;MN=M1;Flag=5", values),
			func(c *hj212.Client) { c.Device.HJ212.ST = []string{"32"} }, func(c *hj212.Client) { c.Device.HJ212.ST = []string{"31"} }, "",
		},
		{
			"the same, not mended", frame("20240102030405001", "ST=31;CN=2011;PW=123456;MN=M1;Flag=5", values),
			func(c *hj212.Client) { c.Device.HJ212.ST = []string{"32"} }, func(*hj212.Client) {}, "foreign_st",
		},
		{
			"a dialect", frame("20240102030405001", "ST=32;CN=2011;PW=123456;MN=M1;Flag=5", values+";"),
			func(*hj212.Client) {}, func(c *hj212.Client) { c.Device.HJ212.Tolerant = true }, "",
		},
		{
			"a dialect that is still refused", frame("20240102030405001", "ST=32;CN=2011;PW=123456;MN=M1;Flag=5", values+";"),
			func(*hj212.Client) {}, func(*hj212.Client) {}, "trailing_semicolon",
		},
		{
			"a value that is no number, of a factor that is bound no more", frame("20240102030405001", "ST=32;CN=2011;PW=123456;MN=M1;Flag=5", values+";w21003-Rtd=--"),
			func(c *hj212.Client) { *c = plant("logger", "M1", "w01018", "w21003") }, func(c *hj212.Client) { c.Bounds = c.Bounds[:1] }, "",
		},
		{
			"the same, still bound", frame("20240102030405001", "ST=32;CN=2011;PW=123456;MN=M1;Flag=5", values+";w21003-Rtd=--"),
			func(c *hj212.Client) { *c = plant("logger", "M1", "w01018", "w21003") }, func(*hj212.Client) {}, "bad_number",
		},
		{
			"another password since, which the check of the frame cannot fit", frame("20240102030405001", "ST=31;CN=2011;PW=123456;MN=M1;Flag=5", values),
			func(c *hj212.Client) { c.Device.HJ212.ST = []string{"32"} }, func(c *hj212.Client) { c.Device.HJ212.ST, c.Device.Password = nil, "654321" }, "bad_crc",
		},
		{
			"another MN since", frame("20240102030405001", "ST=31;CN=2011;PW=123456;MN=M1;Flag=5", values),
			func(c *hj212.Client) { c.Device.HJ212.ST = []string{"32"} }, func(c *hj212.Client) { c.Device.HJ212.ST, c.Device.HJ212.MN = nil, "M2" }, "foreign_mn",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := plant("logger", "M1", "w01018")
			tt.with(&c)
			letter := buried(t, c, tt.frame)
			settings := *c.Device.HJ212
			c.Device.HJ212 = &settings // the host's own stays as it was
			tt.mend(&c)
			d, problem := hj212.Reread(c, letter, received)
			if tt.code != "" {
				if problem == nil || problem.Code != tt.code {
					t.Errorf("problem %v, want %s", problem, tt.code)
				}
				return
			}
			want := devices.Reading{Site: "plant", Point: "out.w01018", Value: 12.5, At: at, Quality: devices.Good, Mark: "N"}
			if problem != nil || len(d.Readings) != 1 || d.Readings[0] != want {
				t.Errorf("read %+v, %v, want %+v", d.Readings, problem, want)
			}
		})
	}
}
