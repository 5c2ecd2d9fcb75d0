package video

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// wallsPreference names the walls among what a person has chosen; the data is
// the list of Wall as openapi.yaml describes it, fields are only ever added.
const wallsPreference = "walls"

// Bounds of what one person may keep.
const (
	mostWalls  = 16
	mostPages  = 16
	mostPlaces = 16
	leastDwell = 5 * time.Second
	mostDwell  = time.Hour
)

// wallLayouts are those of WallLayout.
var wallLayouts = []contract.WallLayout{"1", "4", "9", "16", "1+5", "1+7"}

func (a *API) getMyWalls(c echo.Context) error {
	data, version, err := a.Preferences.Preference(c.Request().Context(), request.Who(c), wallsPreference)
	if err != nil {
		return err
	}
	mine := contract.Walls{Version: version, Walls: []contract.Wall{}}
	if data != nil {
		if err := json.Unmarshal(data, &mine.Walls); err != nil {
			return fmt.Errorf("read walls: %w", err)
		}
	}
	return c.JSON(http.StatusOK, mine)
}

func (a *API) replaceMyWalls(c echo.Context) error {
	var mine contract.Walls
	if err := request.Decode(c, &mine); err != nil {
		return err
	}
	if err := checkWalls(mine); err != nil {
		return err
	}
	data, err := json.Marshal(mine.Walls)
	if err != nil {
		return fmt.Errorf("write walls: %w", err)
	}
	if err := a.Preferences.Prefer(c.Request().Context(), request.Who(c), wallsPreference, mine.Version, data); err != nil {
		return err
	}
	mine.Version++
	return c.JSON(http.StatusOK, mine)
}

func checkWalls(mine contract.Walls) error {
	var ps devices.Problems
	if mine.Version < 0 {
		ps.Add(devices.Invalid("version", "bad_version", "请给出读取时的 version，首次为 0", "give the version as it was read, 0 at first"))
	}
	if mine.Walls == nil {
		ps.Add(devices.Invalid("walls", "missing", "请给出列表，可为空", "give a list; it may be empty"))
	}
	if len(mine.Walls) > mostWalls {
		ps.Add(devices.Invalid("walls", "too_many", fmt.Sprintf("最多 %d 面墙", mostWalls), fmt.Sprintf("keep at most %d walls", mostWalls)))
	}
	names := map[string]bool{}
	for i, w := range mine.Walls {
		at := fmt.Sprintf("walls[%d].", i)
		if names[w.Name] {
			ps.Add(devices.Invalid(at+"name", "name_used", "名称与另一面墙相同", "another wall has this name"))
		}
		names[w.Name] = true
		ps = append(ps, checkWall(at, w)...)
	}
	return ps.Err()
}

func checkWall(at string, w contract.Wall) devices.Problems {
	var ps devices.Problems
	if n := utf8.RuneCountInString(w.Name); n == 0 || n > 40 || strings.TrimSpace(w.Name) != w.Name || strings.ContainsFunc(w.Name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		ps.Add(devices.Invalid(at+"name", "bad_name", "名称须为 1 至 40 个字，首尾无空格，不含控制字符", "give a name of 1 to 40 characters without control characters or blanks around it"))
	}
	if !slices.Contains(wallLayouts, w.Layout) {
		ps.Add(devices.Invalid(at+"layout", "not_one_of", "布局须为 1、4、9、16、1+5 或 1+7", "choose 1, 4, 9, 16, 1+5 or 1+7"))
	}
	if d := time.Duration(w.Dwell); d != 0 && (d < leastDwell || d > mostDwell) {
		ps.Add(devices.Invalid(at+"dwell", "out_of_range", "停留须为 5 秒至 1 小时", "stay 5s to 1h on a page"))
	}
	if len(w.Pages) == 0 || len(w.Pages) > mostPages {
		ps.Add(devices.Invalid(at+"pages", "out_of_range", fmt.Sprintf("须有 1 至 %d 页", mostPages), fmt.Sprintf("give 1 to %d pages", mostPages)))
	}
	for i, p := range w.Pages {
		page := fmt.Sprintf("%spages[%d].cameras", at, i)
		if p.Cameras == nil || len(p.Cameras) > mostPlaces {
			ps.Add(devices.Invalid(page, "too_many", fmt.Sprintf("须为列表，最多 %d 格", mostPlaces), fmt.Sprintf("give a list of at most %d places", mostPlaces)))
			continue
		}
		for j, id := range p.Cameras {
			if id != "" {
				ps.Add(devices.CheckID(fmt.Sprintf("%s[%d]", page, j), id))
			}
		}
	}
	return ps
}
