package payload

import "strings"

// Quantity is what a value measures: the factor and the unit in which it is
// registered, and how many digits of it are shown.
type Quantity struct {
	Factor string // code of HJ 212, or a word of the trade
	Unit   string
	Digits int
}

// quantities are known by the words that senders call them by, in small letters
// and without separators: the classes of Home Assistant, the names of Tasmota,
// Zigbee2MQTT and Shelly, the trade's own. Codes are those of HJ 525 and HJ 212.
var quantities = map[string]Quantity{
	"temperature": {"a01001", "℃", 1}, "temp": {"a01001", "℃", 1}, "tc": {"a01001", "℃", 1}, "tempc": {"a01001", "℃", 1},
	"humidity": {"a01002", "%", 1}, "hum": {"a01002", "%", 1}, "rh": {"a01002", "%", 1},
	"atmosphericpressure": {"a01006", "hPa", 1}, "barometer": {"a01006", "hPa", 1},
	"windspeed": {"a01007", "m/s", 1}, "winddirection": {"a01008", "°", 0},
	"pm1": {"pm1", "ug/m3", 0}, "pm25": {"a34004", "ug/m3", 0}, "pm10": {"a34002", "ug/m3", 0}, "tsp": {"a34001", "ug/m3", 0},
	"noise": {"Leq", "dB(A)", 1}, "leq": {"Leq", "dB(A)", 1}, "laeq": {"Leq", "dB(A)", 1}, "soundpressure": {"Leq", "dB(A)", 1},
	"carbondioxide": {"co2", "ppm", 0}, "co2": {"co2", "ppm", 0}, "carbonmonoxide": {"co", "ppm", 1},
	"voltage": {"voltage", "V", 1}, "current": {"current", "A", 3}, "power": {"power", "W", 1}, "apower": {"power", "W", 1},
	"energy": {"energy", "kW·h", 3}, "frequency": {"frequency", "Hz", 2}, "powerfactor": {"power_factor", "", 2},
	"pressure": {"pressure", "kPa", 2}, "illuminance": {"illuminance", "lx", 0}, "level": {"level", "m", 3}, "flow": {"flow", "m3/h", 2},
	"battery": {"battery", "%", 0}, "linkquality": {"signal", "", 0}, "rssi": {"signal", "dBm", 0}, "signalstrength": {"signal", "dBm", 0},
	"ph": {"w01001", "", 2}, "cod": {"w01018", "mg/L", 1}, "turbidity": {"w01003", "NTU", 2},
}

// units as senders and RFC 8428 write them, as points have them.
var units = map[string]string{
	"Cel": "℃", "°C": "℃", "C": "℃", "%RH": "%", "%": "%", "%EL": "%", "µg/m³": "ug/m3", "μg/m³": "ug/m3", "ug/m³": "ug/m3", "mg/m³": "mg/m3",
	"m³/h": "m3/h", "m³": "m3", "kWh": "kW·h", "Wh": "W·h", "dB": "dB", "dBA": "dB(A)", "deg": "°", "lx": "lx", "count": "", "/": "",
}

// byUnit tells what a value is by its unit alone, where there is little doubt.
var byUnit = map[string]string{"℃": "temperature", "V": "voltage", "A": "current", "W": "power", "Hz": "frequency", "kW·h": "energy", "lx": "illuminance", "dB(A)": "noise"}

// GuessQuantity says what a value probably measures, by the last word of what
// its sender calls it, or by its unit. Somebody must look at it: the unit that the
// sender states goes before the usual one, and nothing is converted.
func GuessQuantity(name, unit string) Quantity {
	if known, ok := units[unit]; ok {
		unit = known
	}
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return strings.ContainsRune("./: _\\|", r) })
	for back := range words { // "wind_speed" is more than "speed", "ENERGY.Power" is power
		if q, ok := quantities[strings.ReplaceAll(strings.Join(words[back:], ""), "-", "")]; ok {
			return q.in(unit)
		}
	}
	if word, ok := byUnit[unit]; ok {
		return quantities[word].in(unit)
	}
	factor := "value"
	if len(words) > 0 && isWord(words[len(words)-1]) {
		factor = words[len(words)-1]
	}
	return Quantity{Factor: factor, Unit: unit, Digits: 2}
}

// in gives q with the unit that is stated, if one is.
func (q Quantity) in(unit string) Quantity {
	if unit != "" && unit != q.Unit {
		q.Unit, q.Digits = unit, 2
	}
	return q
}

// isWord says whether s can stand for a factor: letters first, then digits too.
func isWord(s string) bool {
	for i, r := range s {
		if (r < 'a' || r > 'z') && (i == 0 || (r != '-' && (r < '0' || r > '9'))) {
			return false
		}
	}
	return s != "" && len(s) <= 32
}
