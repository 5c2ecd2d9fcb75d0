package main

import (
	"errors"
	"regexp"

	"github.com/alecthomas/kong"

	"offsite/devices"
)

// errUsage is a command line that could not be understood.
var errUsage = errors.New("the command line is not understood")

// misunderstood says in both languages what is wrong with the command line, and
// which help to ask.
func misunderstood(err error) error {
	command := "offsite"
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		if at := parse.Context.Selected(); at != nil {
			command += " " + alias.ReplaceAllString(at.Path(), "")
		}
	}
	return &usage{&devices.Problem{
		Code: "bad_command_line",
		ZH:   inChinese(err.Error()) + "；用法见 " + command + " --help", EN: err.Error() + "; see " + command + " --help",
	}}
}

// usage is a Problem that is an errUsage as well.
type usage struct{ *devices.Problem }

func (u *usage) Unwrap() []error { return []error{errUsage, u.Problem} }

// alias is another name of a command, which kong writes behind it.
var alias = regexp.MustCompile(` \(.*?\)`)

// phrases are the words of kong that people meet.
var phrases = []struct {
	en *regexp.Regexp
	zh string
}{
	{regexp.MustCompile(`^unexpected argument (.*), did you mean (.*)\?$`), "不认识 $1，是否为 $2"},
	{regexp.MustCompile(`^unexpected argument (.*)$`), "不认识 $1"},
	{regexp.MustCompile(`^unknown flag (.*), did you mean (.*)\?$`), "没有参数 $1，是否为 $2"},
	{regexp.MustCompile(`^unknown flag (.*)$`), "没有参数 $1"},
	{regexp.MustCompile(`^expected one of (.*)$`), "须写明下列之一：$1"},
	{regexp.MustCompile(`^expected "(.*)"$`), "缺少 $1"},
	{regexp.MustCompile(`^missing flags: (.*)$`), "缺少参数 $1"},
	{regexp.MustCompile(`^(\S+) must be one of (.*) but got (.*)$`), "$1 须为 $2 之一，不能是 $3"},
	{regexp.MustCompile(`^(\S+): expected a valid \S+ bit (?:u?int) but got (.*)$`), "$1 须为整数，不能是 $2"},
	{regexp.MustCompile(`^(\S+): expected duration but got (\S+?)(?:: .*)?$`), "$1 须为 10s、5m 之类的时长，不能是 $2"},
	{regexp.MustCompile(`^(\S+): (?:stat|open) (.*): no such file or directory$`), "$1：没有文件 $2"},
	{regexp.MustCompile(`^(\S+): (.*)$`), "$1 的值不能使用（$2）"},
}

func inChinese(text string) string {
	for _, p := range phrases {
		if p.en.MatchString(text) {
			return p.en.ReplaceAllString(text, p.zh)
		}
	}
	return "命令行有误（" + text + "）"
}
