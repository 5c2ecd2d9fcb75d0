package hj212

import (
	"strings"

	"offsite/devices"
	"offsite/devices/hj212/wire"
)

// Quantity is what a factor's code stands for.
type Quantity struct {
	ZH, EN string
	Unit   string // usual one; a logger may send another
	Digits int    // usually shown
}

// quantities are the factors that loggers send most. Their units are what loggers
// of the field send, not what the standard prints beside the code (particulates are
// printed as ng/m3): somebody must compare them with the logger.
var quantities = map[string]Quantity{
	"a34004": {"PM2.5", "PM2.5", "ug/m3", 0}, "a34002": {"PM10", "PM10", "ug/m3", 0}, "a34001": {"总悬浮颗粒物", "TSP", "ug/m3", 0},
	"a21026": {"二氧化硫", "SO2", "mg/m3", 1}, "a21002": {"氮氧化物", "NOx", "mg/m3", 1}, "a21003": {"一氧化氮", "NO", "mg/m3", 1}, "a21004": {"二氧化氮", "NO2", "mg/m3", 1},
	"a21005": {"一氧化碳", "CO", "mg/m3", 1}, "a05024": {"臭氧", "O3", "ug/m3", 0}, "a24088": {"非甲烷总烃", "NMHC", "mg/m3", 2}, "a34013": {"烟尘", "Smoke dust", "mg/m3", 1},
	"a19001": {"氧含量", "Oxygen", "%", 2}, "a00000": {"废气流量", "Gas flow", "m3/h", 0}, "a01001": {"气温", "Air temperature", "℃", 1}, "a01002": {"相对湿度", "Relative humidity", "%", 1},
	"a01006": {"气压", "Air pressure", "kPa", 2}, "a01007": {"风速", "Wind speed", "m/s", 1}, "a01008": {"风向", "Wind direction", "°", 0}, "a01011": {"烟气流速", "Flue gas velocity", "m/s", 2},
	"a01012": {"烟气温度", "Flue gas temperature", "℃", 1}, "a01013": {"烟气压力", "Flue gas pressure", "Pa", 0}, "a01014": {"烟气湿度", "Flue gas humidity", "%", 2},
	"w00000": {"污水流量", "Waste water flow", "L/s", 2}, "w01001": {"pH", "pH", "", 2}, "w01009": {"溶解氧", "Dissolved oxygen", "mg/L", 2}, "w01010": {"水温", "Water temperature", "℃", 1},
	"w01012": {"悬浮物", "Suspended solids", "mg/L", 0}, "w01018": {"COD", "COD", "mg/L", 1}, "w21003": {"氨氮", "Ammonia nitrogen", "mg/L", 3}, "w21011": {"总磷", "Total phosphorus", "mg/L", 3},
	"w21001": {"总氮", "Total nitrogen", "mg/L", 2},
	"leq":    {"等效声级", "Equivalent sound level", "dB(A)", 1}, "la": {"瞬时声级", "Sound level", "dB(A)", 1}, "ld": {"昼间声级", "Day sound level", "dB(A)", 1}, "ln": {"夜间声级", "Night sound level", "dB(A)", 1},
}

// QuantityAt says what a place in a logger's packets holds; by its code alone
// where that is not known. A total has a unit of its own, which nobody can guess.
func QuantityAt(place devices.FactorPlace) Quantity {
	q, ok := quantities[wire.Canonical(place.Code)]
	if !ok {
		q = Quantity{ZH: place.Code, EN: place.Code, Digits: 2}
	}
	if strings.HasSuffix(place.Field, "Cou") {
		q.Unit, q.Digits = "", 2
	}
	return q
}
