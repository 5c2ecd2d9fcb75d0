package devices

import (
	"regexp"
	"strings"
)

var (
	idPattern     = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
	pointPattern  = regexp.MustCompile(`^[a-z0-9-]{1,64}\.[a-z0-9-]{1,64}$`)
	regionPattern = regexp.MustCompile(`^[1-9][0-9]{5}([0-9]{3}|[0-9]{6})?$`)
)

// CheckID says what is wrong with an id, which must match [a-z0-9-]{1,64}.
func CheckID(field, id string) *Problem {
	if idPattern.MatchString(id) {
		return nil
	}
	return Invalid(field, "bad_id", "编号须为 1 至 64 个小写字母、数字或连字符", "use 1 to 64 lower-case letters, digits or hyphens")
}

// CheckPointID says what is wrong with a point's id, which is "outlet.point".
func CheckPointID(field, id string) *Problem {
	if pointPattern.MatchString(id) {
		return nil
	}
	return Invalid(field, "bad_point_id", "测点编号须为“点位.测点”，各部分为 1 至 64 个小写字母、数字或连字符", `write "outlet.point", each of 1 to 64 lower-case letters, digits or hyphens`)
}

// SplitPoint cuts "outlet.point" in two; without a dot both are empty.
func SplitPoint(id string) (outlet, point string) {
	outlet, point, ok := strings.Cut(id, ".")
	if !ok {
		return "", ""
	}
	return outlet, point
}

// usccAlphabet and usccWeights are those of GB 32100-2015, section 5.
const usccAlphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"

var usccWeights = [17]int{1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28}

// CheckUSCC says what is wrong with a unified social credit code: 18
// characters, the last of them the check character of GB 32100-2015.
func CheckUSCC(field, code string) *Problem {
	if len(code) != 18 {
		return Invalid(field, "uscc_length", "统一社会信用代码须为 18 位", "a unified social credit code has 18 characters")
	}
	sum := 0
	for i := range 17 {
		v := strings.IndexByte(usccAlphabet, code[i])
		if v < 0 {
			return Invalid(field, "uscc_character", "统一社会信用代码只用数字和大写字母，不含 I、O、S、V、Z", "use digits and capital letters without I, O, S, V, Z")
		}
		sum += v * usccWeights[i]
	}
	if want := usccAlphabet[(31-sum%31)%31]; code[17] != want {
		return Invalid(field, "uscc_check", "统一社会信用代码校验位不符，请核对抄录", "the check character does not fit; compare the code with the licence")
	}
	return nil
}
