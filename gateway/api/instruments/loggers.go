package instruments

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/devices/hj212"
	"offsite/devices/hj212/wire"
	"offsite/devices/registry"
	"offsite/edge/audit"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// mostPackets is how many packets of an answer are shown.
const mostPackets = 1000

// The names of HJ 212's content that have fields of their own here.
const (
	cmdSetTime     = "1012"
	cmdSetPassword = "1072"
	nameFactor     = "PolId"
	nameTime       = "SystemTime"
	nameFrom       = "BeginTime"
	nameTo         = "EndTime"
	namePassword   = "NewPW"
)

func listLoggerCommands(c echo.Context) error {
	kinds := hj212.Commands()
	list := contract.LoggerCommandList{Items: make([]contract.LoggerCommandKind, 0, len(kinds))}
	for _, k := range kinds {
		list.Items = append(list.Items, contract.LoggerCommandKind{Cn: k.CN, Zh: k.ZH, En: k.EN, Writes: k.Writes})
	}
	return c.JSON(http.StatusOK, list)
}

// command is one to a data logger.
type command struct{ contract.LoggerCommand }

// commandDevice sends a data logger a command.
func (a *API) commandDevice(c echo.Context) error {
	thing, err := a.desk.Thing(c, devices.KindDevice)
	if err != nil {
		return err
	}
	var body command
	if err := request.Decode(c, &body); err != nil {
		return err
	}
	dev := thing.(*devices.Device)
	kind, err := body.check(dev)
	if err != nil {
		return err
	}
	entry := audit.Entry{Act: "device.command", What: "device/" + dev.ID, Purpose: strings.TrimSpace(body.Reason), Detail: body.told()}
	switch {
	case kind.Writes && request.Who(c).Role != contract.Administrator:
		return a.desk.Refused(c, entry, &devices.Problem{
			Kind: contract.ErrForbidden, Code: "role_not_allowed", Field: "cn", ZH: "您的角色只能发送读取命令；“" + kind.ZH + "”须由管理员下发", EN: "your role may send commands that read; this one, " + kind.EN + ", is an administrator's",
		})
	case a.Loggers == nil:
		return a.desk.Refused(c, entry, noLoggers())
	}
	var result hj212.Result
	err = a.desk.Attempt(c, entry, func(ctx context.Context) (string, error) {
		result, err = a.Loggers.Request(ctx, dev.ID, hj212.Command{CN: body.Cn, ST: body.St, CP: body.items(time.Now())})
		if err == nil && body.Cn == cmdSetPassword {
			err = a.renew(c, dev.ID, devices.Secret(body.Password))
		}
		return "QN=" + result.QN, err
	})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, answerOf(result))
}

func noLoggers() *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "no_listener", Field: "hj212.listen",
		ZH: "网关没有监听数采仪：请在配置文件中填写 hj212.listen 并重启网关", EN: "the gateway does not listen for data loggers: set hj212.listen in its configuration and start it again",
	}
}

// check tells every fault of the command and gives its kind.
func (r *command) check(dev *devices.Device) (hj212.CommandKind, error) {
	if dev.Driver != devices.DriverHJ212 {
		return hj212.CommandKind{}, devices.Invalid("id", "no_logger", "只有 HJ 212 数采仪接受命令", "only HJ 212 data loggers take commands")
	}
	var ps devices.Problems
	kinds := hj212.Commands()
	at := slices.IndexFunc(kinds, func(k hj212.CommandKind) bool { return k.CN == r.Cn })
	if at < 0 {
		ps.Add(devices.Invalid("cn", "unknown_command", "没有该命令；请选择命令列表中的一条", "there is no such command; choose one of the list"))
		return hj212.CommandKind{}, ps.Err()
	}
	if kinds[at].Writes {
		ps.Add(request.Reasoned(r.Reason))
	}
	if (r.From == nil) != (r.To == nil) {
		ps.Add(devices.Invalid("to", "incomplete", "开始与结束时间须同时填写", "give begin and end together"))
	} else if r.From != nil && r.To.Before(*r.From) {
		ps.Add(devices.Invalid("to", "empty_span", "结束时间须不早于开始时间", "the end must not come before the beginning"))
	}
	if len(r.Content) > 50 {
		ps.Add(devices.Invalid("content", "too_many", "内容最多 50 项", "give at most 50 fields"))
	}
	for _, f := range r.Content {
		if slices.Contains([]string{nameFactor, nameFrom, nameTo, namePassword}, f.Name) {
			ps.Add(devices.Invalid("content", "own_field", f.Name+" 有专门的字段，请勿写入 content", f.Name+" has a field of its own; do not write it into content"))
		}
	}
	ps.Add(r.checkPassword(dev))
	return kinds[at], ps.Err()
}

func (r *command) checkPassword(dev *devices.Device) *devices.Problem {
	if r.Cn != cmdSetPassword {
		if r.Password != "" {
			return devices.Invalid("password", "not_used", "只有 1072 设置密码", "only 1072 sets a password")
		}
		return nil
	}
	if r.Password == "" || strings.Contains(r.Password, ",") || devices.Secret(r.Password).Kept() {
		return devices.Invalid("password", "bad_pw", "请填写新密码，最长 64 个字符，不得含空格和 ; = & # ,", "give the new password, at most 64 characters without spaces and ; = & # ,")
	}
	fresh := *dev
	fresh.Password = devices.Secret(r.Password)
	for _, p := range devices.AllProblems(fresh.Check()) {
		if p.Field == "password" {
			return p
		}
	}
	return nil
}

// told is what the trail has of the content, without the password.
func (r *command) told() string {
	parts := []string{"CN=" + r.Cn}
	for _, item := range r.items(time.Now()) {
		if f := item[0]; f.Name != namePassword {
			parts = append(parts, f.Name+"="+f.Value)
		}
	}
	return strings.Join(parts, " ")
}

// items gives the data area.
func (r *command) items(now time.Time) (cp []wire.Item) {
	add := func(name, value string) {
		if value != "" {
			cp = append(cp, wire.Item{{Name: name, Value: value}})
		}
	}
	add(nameFactor, r.Factor)
	if r.From != nil && r.To != nil {
		add(nameFrom, wire.FormatTime(*r.From))
		add(nameTo, wire.FormatTime(*r.To))
	}
	add(namePassword, r.Password)
	timed := false
	for _, f := range r.Content {
		timed = timed || f.Name == nameTime
		cp = append(cp, wire.Item{{Name: f.Name, Value: f.Value}})
	}
	if r.Cn == cmdSetTime && !timed {
		add(nameTime, wire.FormatTime(now))
	}
	return cp
}

// renew registers the password that a logger has taken.
func (a *API) renew(c echo.Context, device string, password devices.Secret) error {
	err := a.desk.Edit(c, func(_ context.Context, e *registry.Edit) (audit.Entry, error) {
		now, ok := e.Get(devices.KindDevice, device).(*devices.Device)
		if !ok {
			return audit.Entry{}, devices.ErrNotFound
		}
		fresh, err := registry.Clone(devices.Thing(now))
		if err != nil {
			return audit.Entry{}, err
		}
		fresh.(*devices.Device).Password = password
		entry := audit.Entry{Act: "device.replace", What: "device/" + device, Before: audit.Hash(now)}
		if err := e.Replace(fresh, now.Version); err != nil {
			return audit.Entry{}, err
		}
		entry.After = audit.Hash(fresh)
		return entry, nil
	})
	if err == nil {
		return nil
	}
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "password_not_registered", Field: "password", Cause: errors.Join(err),
		ZH: "数采仪已改用新密码，但网关未能登记：请立即在设备中填写该密码，否则数采仪不能再接入",
		EN: "the logger has taken the new password but the gateway could not register it: write it into the device at once, else the logger is not admitted any more",
	}
}

func answerOf(r hj212.Result) contract.LoggerAnswer {
	out := contract.LoggerAnswer{Qn: r.QN, Zh: "执行成功", En: "done", Packets: []contract.LoggerPacket{}}
	for i, p := range r.Packets {
		if i == mostPackets {
			out.More = len(r.Packets) - mostPackets
			break
		}
		shown := contract.LoggerPacket{Cn: p.CN, Content: []contract.LoggerField{}}
		for _, item := range p.CP {
			for _, f := range item {
				shown.Content = append(shown.Content, contract.LoggerField{Name: f.Name, Value: f.Value})
			}
		}
		out.Packets = append(out.Packets, shown)
	}
	return out
}
