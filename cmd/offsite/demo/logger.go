package demo

import (
	"context"
	"time"

	"offsite/devices"
	"offsite/devices/hj212/loggertest"
)

// The values of the demo's data logger.
var (
	cod     = wave{mean: 31, swing: 4, peak: 78, begin: 50 * time.Second}
	ammonia = wave{mean: 1.8, swing: 0.4, peak: 2.2, begin: 0}
	ph      = wave{mean: 7.4, swing: 0.2, peak: 7.5, begin: 0}
	flow    = wave{mean: 12, swing: 2, peak: 13, begin: 0}
)

// Logger is what a data logger of the waste water outlet is set to.
type Logger struct {
	MN, PW, ST string
	Version    string // 2005, 2017 or 2025
	Period     time.Duration
	SM4Key     devices.Secret
}

// DataLogger sends as a data logger of a waste water outlet to host, host:port,
// until ctx ends.
func DataLogger(ctx context.Context, host string, l Logger) error {
	started := time.Now()
	factor := func(code string, w wave, digits int) loggertest.Factor {
		return loggertest.Factor{Code: code, Digits: digits, At: func(now time.Time) (float64, string) { return w.at(now.Sub(started)), "N" }}
	}
	logger, err := loggertest.New(loggertest.Config{
		MN: l.MN, PW: l.PW, ST: l.ST, Version: l.Version, Period: l.Period, SM4Key: l.SM4Key,
		Factors: []loggertest.Factor{factor("w01018", cod, 1), factor("w21003", ammonia, 3), factor("w01001", ph, 2), factor("w00000", flow, 2)},
	})
	if err != nil {
		return err
	}
	return logger.Run(ctx, host)
}

// outfall is the tank farm's waste water outlet with its data logger.
func outfall(password devices.Secret) []devices.Thing {
	factor := func(id, pt, code string) *devices.Binding {
		return &devices.Binding{ID: id, Point: pt, Device: deviceLogger, Factor: &devices.FactorPlace{Code: code}}
	}
	minute := factor("outfall-cod-minute", outletOutfall+".cod-minute", "w01018")
	minute.Factor.Kind = devices.KindMinute
	return []devices.Thing{
		&devices.Outlet{ID: outletOutfall, Site: siteTanks, Name: "污水总排口", OutletKind: "waste_water"},
		point(outletOutfall+".cod", "COD", "w01018", "mg/L", 0, 500, 1),
		point(outletOutfall+".cod-minute", "COD 分钟均值", "w01018", "mg/L", 0, 500, 1),
		point(outletOutfall+".nh3n", "氨氮", "w21003", "mg/L", 0, 100, 3),
		point(outletOutfall+".ph", "pH", "w01001", "", 0, 14, 2),
		point(outletOutfall+".flow", "流量", "w00000", "L/s", 0, 200, 2),
		&devices.Device{
			ID: deviceLogger, Site: siteTanks, Name: "污水数采仪", Driver: devices.DriverHJ212, Password: password,
			HJ212: &devices.HJ212Settings{MN: demoMN, ST: []string{"32"}},
		},
		factor("outfall-cod", outletOutfall+".cod", "w01018"),
		minute,
		factor("outfall-nh3n", outletOutfall+".nh3n", "w21003"),
		factor("outfall-ph", outletOutfall+".ph", "w01001"),
		factor("outfall-flow", outletOutfall+".flow", "w00000"),
		&devices.Limit{ID: "outfall-cod-h", Point: outletOutfall + ".cod", Level: "H", Value: 60, Unit: "mg/L", Averaging: devices.AveragingInstant, Deadband: 2},
	}
}

// Ids of the logger and its outlet, and its identity, which no real logger has.
const (
	outletOutfall = "outfall-1"
	deviceLogger  = "logger-1"
	demoMN        = "OFFSITEDEMO000000000001"
)
