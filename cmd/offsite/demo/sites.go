package demo

import (
	"fmt"

	"offsite/devices"
)

// Ids that the simulated instruments and the registered things share.
const (
	siteConstruction = "hengyuan-plot-7"
	siteTanks        = "binjiang-tank-farm"
	outletDust       = "gate-dust"
	outletNoise      = "gate-noise"
	outletTank       = "tank-101"
	outletGas        = "gas-area-1"
	deviceDust       = "dust-station-1"
	deviceNoise      = "noise-meter-1"
	devicePLC        = "tank-plc-1"
)

// Registers of the tank farm's controller.
const (
	registerLevel       = 0  // float32, m
	registerPressure    = 2  // float32, kPa
	registerTemperature = 4  // int16, 0.1 °C
	registerGas         = 10 // uint16, 0.1 %LEL
)

// Codes of no real enterprise, with right check characters.
const (
	usccConstruction = "91320411MA1DEM001L"
	usccTanks        = "91320412MA1DEM0026"
)

// peers are the addresses of what stands around the gateway.
type peers struct {
	modbus  string   // host:port
	cameras []string // rtsp addresses
	control string   // their ONVIF service
}

// things gives all that the demo registers, in an order in which each finds
// what it refers to.
func things(size Size, p peers, password devices.Secret) []devices.Thing {
	list := places()
	list = append(list, construction(size, password)...)
	list = append(list, tankFarm(size, p)...)
	list = append(list, outfall(password)...)
	list = append(list, cameras(p)...)
	return append(list, limits()...)
}

func places() []devices.Thing {
	at := func(v float64) *float64 { return &v }
	return []devices.Thing{
		&devices.Entity{ID: "hengyuan", Name: "恒远建设工程有限公司（演示）", USCC: usccConstruction, Region: "320411"},
		&devices.Entity{ID: "binjiang", Name: "滨江化工仓储有限公司（演示）", USCC: usccTanks, Region: "320412"},
		&devices.Site{
			ID: siteConstruction, Name: "恒远 7 号地块工地", SiteKind: "construction", Address: "常州市新北区（演示）",
			Lon: at(119.974), Lat: at(31.832), Entities: []devices.Role{{Entity: "hengyuan", Role: "contractor"}},
		},
		&devices.Site{
			ID: siteTanks, Name: "滨江化工储罐区", SiteKind: "chemical", Address: "常州市武进区（演示）",
			Lon: at(119.942), Lat: at(31.701), Entities: []devices.Role{{Entity: "binjiang", Role: "operator"}},
		},
		&devices.Outlet{ID: outletDust, Site: siteConstruction, Name: "大门扬尘监测点", OutletKind: "dust"},
		&devices.Outlet{ID: outletNoise, Site: siteConstruction, Name: "大门噪声监测点", OutletKind: "noise"},
		&devices.Outlet{ID: outletTank, Site: siteTanks, Name: "101 号储罐", OutletKind: "tank"},
		&devices.Outlet{ID: outletGas, Site: siteTanks, Name: "1 号可燃气体区", OutletKind: "gas_area"},
	}
}

func point(id, name, factor, unit string, low, high float64, digits int) *devices.Point {
	return &devices.Point{ID: id, Name: name, Factor: factor, Unit: unit, Min: &low, Max: &high, Digits: digits}
}

// construction is the site with dust and noise, whose instruments are clients
// of the embedded broker. The first two sensors are the dust station and the
// noise meter; further ones are dust sensors of one point each.
func construction(size Size, password devices.Secret) []devices.Thing {
	json := func(id, pt, path string) *devices.Binding {
		return &devices.Binding{ID: id, Point: pt, Device: deviceDust, Topic: &devices.Topic{Path: path, TimePath: "ts"}}
	}
	list := []devices.Thing{
		point(outletDust+".pm10", "PM10", "a34002", "ug/m3", 0, 2000, 0),
		point(outletDust+".pm25", "PM2.5", "a34004", "ug/m3", 0, 1000, 0),
		point(outletDust+".tsp", "TSP", "a34001", "ug/m3", 0, 5000, 0),
		&devices.Device{ID: deviceDust, Site: siteConstruction, Name: "扬尘在线监测仪", Driver: devices.DriverBroker, Password: password},
		json("dust-pm10", outletDust+".pm10", "pm10"),
		json("dust-pm25", outletDust+".pm25", "pm25"),
		json("dust-tsp", outletDust+".tsp", "tsp"),
	}
	if size.Sensors > 1 {
		list = append(list,
			point(outletNoise+".leq", "等效声级", "Leq", "dB(A)", 20, 140, 1),
			&devices.Device{ID: deviceNoise, Site: siteConstruction, Name: "噪声监测仪", Driver: devices.DriverBroker, Password: password},
			&devices.Binding{ID: "noise-leq", Point: outletNoise + ".leq", Device: deviceNoise},
			&devices.Limit{ID: "noise-leq-h", Point: outletNoise + ".leq", Level: "H", Value: 85, Unit: "dB(A)", Averaging: devices.AveragingInstant, Deadband: 1},
		)
	}
	for i := 3; i <= size.Sensors; i++ {
		id := fmt.Sprintf("dust-sensor-%d", i)
		list = append(list,
			&devices.Outlet{ID: id, Site: siteConstruction, Name: fmt.Sprintf("%d 号扬尘点", i), OutletKind: "dust"},
			point(id+".pm10", "PM10", "a34002", "ug/m3", 0, 2000, 0),
			&devices.Device{ID: id, Site: siteConstruction, Name: fmt.Sprintf("%d 号颗粒物传感器", i), Driver: devices.DriverBroker, Password: password},
			&devices.Binding{ID: id, Point: id + ".pm10", Device: id},
		)
	}
	return list
}

// tankFarm is the site whose controller speaks Modbus TCP.
func tankFarm(size Size, p peers) []devices.Thing {
	register := func(id, pt string, r devices.Register, scale float64) *devices.Binding {
		r.Table = "holding"
		return &devices.Binding{ID: id, Point: pt, Device: devicePLC, Register: &r, Scale: scale}
	}
	return []devices.Thing{
		point(outletTank+".level", "液位", "level", "m", 0, 15, 2),
		point(outletTank+".pressure", "压力", "pressure", "kPa", -5, 60, 2),
		point(outletTank+".temperature", "温度", "temperature", "°C", -40, 150, 1),
		point(outletGas+".lel", "可燃气体", "lel", "%LEL", 0, 100, 1),
		&devices.Device{
			ID: devicePLC, Site: siteTanks, Name: "储罐区 PLC", Driver: devices.DriverModbus, Endpoint: "modbus://" + p.modbus,
			Period: devices.Duration(size.Period), Modbus: &devices.ModbusSettings{Unit: 1},
		},
		register("tank-level", outletTank+".level", devices.Register{Address: registerLevel, Type: "float32"}, 0),
		register("tank-pressure", outletTank+".pressure", devices.Register{Address: registerPressure, Type: "float32"}, 0),
		register("tank-temperature", outletTank+".temperature", devices.Register{Address: registerTemperature, Type: "int16"}, 0.1),
		register("gas-lel", outletGas+".lel", devices.Register{Address: registerGas, Type: "uint16"}, 0.1),
	}
}

// cameras watch the two sites in turn.
func cameras(p peers) []devices.Thing {
	list := make([]devices.Thing, 0, len(p.cameras))
	for i, address := range p.cameras {
		c := &devices.Camera{
			ID: fmt.Sprintf("cam-%d", i+1), Site: siteConstruction, Name: fmt.Sprintf("大门 %d 号摄像机", i/2+1),
			URL: address, Outlets: []string{outletDust, outletNoise}, ONVIF: p.control, Source: fmt.Sprintf("source-%d", i+1),
		}
		if i%2 == 1 {
			c.Site, c.Name, c.Outlets = siteTanks, fmt.Sprintf("储罐区 %d 号摄像机", i/2+1), []string{outletTank, outletGas}
		}
		if i > 3 {
			c.Outlets = nil
		}
		list = append(list, c)
	}
	return list
}

// limits are set points of the demo; a set point is no standard's limit value.
func limits() []devices.Thing {
	const gas = "GB/T 50493-2019"
	return []devices.Thing{
		&devices.Limit{ID: "dust-pm10-h", Point: outletDust + ".pm10", Level: "H", Value: pm10Limit, Unit: "ug/m3", Averaging: devices.AveragingInstant, Deadband: 10},
		&devices.Limit{ID: "tank-level-h", Point: outletTank + ".level", Level: "H", Value: 12.5, Unit: "m", Averaging: devices.AveragingInstant, Deadband: 0.1},
		&devices.Limit{ID: "tank-level-hh", Point: outletTank + ".level", Level: "HH", Value: 13.5, Unit: "m", Averaging: devices.AveragingInstant, Deadband: 0.1},
		&devices.Limit{ID: "gas-lel-h", Point: outletGas + ".lel", Level: "H", Value: gasLimit, Unit: "%LEL", Averaging: devices.AveragingInstant, Deadband: 2, Standard: gas},
		&devices.Limit{ID: "gas-lel-hh", Point: outletGas + ".lel", Level: "HH", Value: 50, Unit: "%LEL", Averaging: devices.AveragingInstant, Deadband: 2, Standard: gas},
	}
}

// Values that the simulated instruments cross from time to time.
const (
	pm10Limit = 150.0
	gasLimit  = 25.0
)
