package registry

import (
	"fmt"
	"strings"

	"offsite/devices"
)

// mostNamed is how many users of a thing a Problem names.
const mostNamed = 5

func hiddenPassword(field string) *devices.Problem {
	return devices.Invalid(field, "password_hidden",
		"显示的密码或密钥只是占位符，请重新填写", "what was shown is a placeholder, not the password or key; enter it")
}

// NotFound tells that no live thing of a kind has the id.
func NotFound(kind devices.Kind, id string) *devices.Problem {
	zh, en := words(kind)
	return &devices.Problem{
		Kind: devices.ErrNotFound, Code: "not_found",
		ZH: fmt.Sprintf("没有编号为“%s”的%s，可能已停用；请刷新列表", id, zh),
		EN: fmt.Sprintf("there is no %s %q, it may have been retired; refresh the list", en, id),
	}
}

func idUsed(t devices.Thing) *devices.Problem {
	zh, en := words(t.Kind())
	return &devices.Problem{
		Kind: devices.ErrConflict, Code: "id_used", Field: "id",
		ZH: fmt.Sprintf("%s编号“%s”已被使用（含已停用的）；编号不可重复使用，请换一个", zh, t.Key()),
		EN: fmt.Sprintf("the %s id %q is or was in use; ids are never used again, choose another", en, t.Key()),
	}
}

func versionChanged(now devices.Thing) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrConflict, Code: "version_changed", Field: "version",
		ZH: fmt.Sprintf("“%s”已被他人修改（现为第 %d 版）；请刷新后重新修改", now.Key(), now.Life().Version),
		EN: fmt.Sprintf("somebody else has changed %q meanwhile (it is at version %d); refresh and make the change again", now.Key(), now.Life().Version),
	}
}

func inUse(t devices.Thing, users []string) *devices.Problem {
	zh, en := words(t.Kind())
	names := strings.Join(users, ", ")
	if len(users) > mostNamed {
		names = strings.Join(users[:mostNamed], ", ") + fmt.Sprintf(" … (%d)", len(users))
	}
	return &devices.Problem{
		Kind: devices.ErrConflict, Code: "in_use",
		ZH: fmt.Sprintf("%s“%s”仍被引用：%s；请先更改或停用它们", zh, t.Key(), names),
		EN: fmt.Sprintf("%s %q is still referred to by %s; change or retire these first", en, t.Key(), names),
	}
}
