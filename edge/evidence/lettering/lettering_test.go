package lettering

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/simplifiedchinese"
)

func open(t testing.TB) *face {
	t.Helper()
	f, err := letters()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Every character of GB 2312 and ASCII has a pattern of its own.
func TestGlyphsOfNames(t *testing.T) {
	f := open(t)
	t.Logf("%d glyphs, %d bytes packed", len(f.runes), len(packed))
	if len(packed) > 250<<10 {
		t.Errorf("%d bytes", len(packed))
	}
	hanzi := 0
	for row := byte(0xB0); row <= 0xF7; row++ {
		for cell := byte(0xA1); cell <= 0xFE; cell++ {
			s, err := simplifiedchinese.GBK.NewDecoder().String(string([]byte{row, cell}))
			r := []rune(s)
			if err != nil || len(r) != 1 || r[0] < 0x4E00 || r[0] > 0x9FFF {
				continue
			}
			hanzi++
			if g := f.glyph(r[0]); g.width != 16 || bytes.Equal(g.rows, missing.rows) || bytes.Count(g.rows, []byte{0}) == len(g.rows) {
				t.Errorf("%c has no pattern", r[0])
			}
		}
	}
	if hanzi != 6763 { // GB 2312-80
		t.Errorf("%d Chinese characters", hanzi)
	}
	for r := rune('!'); r <= '~'; r++ {
		if g := f.glyph(r); g.width != 8 || bytes.Equal(g.rows, missing.rows) {
			t.Errorf("%c has no pattern", r)
		}
	}
	for _, r := range "，。、：；（）《》“”·℃‰×→①ⅠμΩäé￥" {
		if g := f.glyph(r); bytes.Equal(g.rows, missing.rows) {
			t.Errorf("%c has no pattern", r)
		}
	}
}

// picture draws a glyph in text.
func picture(g glyph) string {
	var out []byte
	for y := range height {
		for x := range g.width {
			if g.dot(x, y) {
				out = append(out, '#')
			} else {
				out = append(out, ' ')
			}
		}
		out = append(bytes.TrimRight(out, " "), '\n')
	}
	return string(bytes.Trim(out, "\n"))
}

func TestPatterns(t *testing.T) {
	tests := []struct {
		r    rune
		want string
	}{
		{'T', ` #######
    #
    #
    #
    #
    #
    #
    #
    #
    #`},
		{'厂', `  #############
  #
  #
  #
  #
  #
  #
  #
  #
  #
  #
  #
 #
 #
#`},
		{'\U0001F600', ` ##############
 ##          ##
 # #        # #
 #  #      #  #
 #   #    #   #
 #    #  #    #
 #     ##     #
 #     ##     #
 #    #  #    #
 #   #    #   #
 #  #      #  #
 # #        # #
 ##          ##
 ##############`},
	}
	for _, tt := range tests {
		if got := picture(open(t).glyph(tt.r)); got != tt.want {
			t.Errorf("%c is\n%s", tt.r, got)
		}
	}
}

// The words are as white on every ground, with black around, and below what matters.
func TestWordsAreReadableOnEveryGround(t *testing.T) {
	words := []string{"北厂区", "东门 1#", "2026-03-01 12:00:00 +08:00", "al-abcdefghijklmnopqrstuvwx"}
	for _, size := range []image.Point{{352, 288}, {640, 360}, {1280, 720}, {1920, 1080}} {
		var whites []int
		for _, ground := range []color.RGBA{{0, 0, 0, 0xff}, {0x80, 0x80, 0x80, 0xff}, {0xff, 0xe0, 0, 0xff}} {
			img := image.NewRGBA(image.Rectangle{Max: size})
			draw.Draw(img, img.Bounds(), image.NewUniform(ground), image.Point{}, draw.Src)
			if err := Write(img, words); err != nil {
				t.Fatal(err)
			}
			white, black, top := 0, 0, size.Y
			for y := range size.Y {
				for x := range size.X {
					switch c := img.RGBAAt(x, y); c {
					case ground:
						continue
					case color.RGBA{0xff, 0xff, 0xff, 0xff}:
						white++
					case color.RGBA{0, 0, 0, 0xff}:
						black++
					default:
						t.Fatalf("%v of colour %v", image.Pt(x, y), c)
					}
					top = min(top, y)
				}
			}
			if whites = append(whites, white); white != whites[0] || white < 1000 || (ground.R > 0 && black < white) {
				t.Errorf("%v on %v: %d white, %d black", size, ground, white, black)
			}
			if top < size.Y*3/4 {
				t.Errorf("%v: written from %d on", size, top)
			}
		}
	}
}

func TestLinesAreBrokenBetweenWords(t *testing.T) {
	long := strings.Repeat("长", 30) // 480 dots
	tests := []struct {
		name  string
		words []string
		want  []int // glyphs, with gaps
	}{
		{"one line", []string{"北厂区", "东门"}, []int{6}},
		{"nothing to say", []string{"", " \t"}, nil},
		{"between words", []string{"北厂区北厂区", "2026-03-01 12:00:00", "al-1"}, []int{6, 24}},
		{"within a word", []string{"a", long}, []int{1, 12, 12, 6}},
	}
	for _, tt := range tests {
		var got []int
		for _, line := range open(t).lines(tt.words, 200) {
			got = append(got, len(line))
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("%s: %s", tt.name, d)
		}
	}
}

func FuzzWrite(f *testing.F) {
	f.Add("北厂区", "al-1", 640, 360)
	f.Add("\x00\u202e\xff\U0010FFFF", strings.Repeat("长", 500), 33, 17)
	f.Fuzz(func(t *testing.T, one, two string, width, height int) {
		img := image.NewRGBA(image.Rect(-3, 5, max(0, width)%2000, max(5, height)%1200))
		if err := Write(img, []string{one, two}); err != nil {
			t.Fatal(err)
		}
		for x := img.Rect.Min.X; x < img.Rect.Max.X; x++ {
			if img.Rect.Dy() > 2*(margin+leading) && img.RGBAAt(x, img.Rect.Min.Y) != (color.RGBA{}) {
				t.Fatalf("written at the top of %v", img.Rect)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("OSL1\x01\x82\x01" + strings.Repeat("x", 16)))
	f.Fuzz(func(t *testing.T, data []byte) {
		face, err := parse(data)
		if err != nil {
			return
		}
		for _, r := range face.runes {
			_ = picture(face.glyph(r))
		}
	})
}
