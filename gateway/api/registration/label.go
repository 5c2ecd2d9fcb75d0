package registration

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image/color"
	"net/http"
	"net/url"

	"github.com/boombuler/barcode/qr"
	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/gateway/api/request"
)

// Measures of a label in QR modules; it is printed as large as one likes.
const (
	quiet     = 4 // modules of white around the code, ISO/IEC 18004 section 6.3.8
	labelText = 9 // modules below the code for two lines
)

// getLabel draws a device's label: a QR code of its page's address, its name
// and id.
func (a *API) getLabel(c echo.Context) error {
	t, err := a.desk.Thing(c, devices.KindDevice)
	if err != nil {
		return err
	}
	q := request.QueryOf(c)
	base, fault := consoleBase(c, q.Text("base"))
	q.Add(fault)
	q.Known("base")
	if err := q.Err(); err != nil {
		return err
	}
	d := t.(*devices.Device)
	label, err := drawLabel(base+"/#/devices/"+d.ID, d.Name, d.ID)
	if err != nil {
		return fmt.Errorf("label of %s: %w", d.ID, err)
	}
	c.Response().Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	return c.Blob(http.StatusOK, "image/svg+xml", label)
}

// consoleBase is the address under which phones reach the console: the given
// one, else the one that was asked.
func consoleBase(c echo.Context, given string) (string, *devices.Problem) {
	if given == "" {
		return c.Scheme() + "://" + c.Request().Host, nil
	}
	u, err := url.Parse(given)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" || u.User != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" || len(given) > 256 {
		return "", devices.Invalid("base", "bad_address", "须为手机打开控制台的地址，例如 https://192.168.1.10:8443", "give the address at which phones open the console, such as https://192.168.1.10:8443")
	}
	return u.Scheme + "://" + u.Host, nil
}

func drawLabel(address, name, id string) ([]byte, error) {
	code, err := qr.Encode(address, qr.M, qr.Auto)
	if err != nil {
		return nil, err
	}
	size := code.Bounds().Dx()
	whole := size + 2*quiet
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" shape-rendering="crispEdges">`, whole, whole+labelText)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/><path d="`, whole, whole+labelText)
	for y := range size {
		for x := range size {
			if code.At(x, y) == color.Black {
				fmt.Fprintf(&b, "M%d %dh1v1h-1z", x+quiet, y+quiet)
			}
		}
	}
	b.WriteString(`" fill="#000"/>`)
	for i, line := range []string{name, id} {
		fmt.Fprintf(&b, `<text x="%d" y="%d" font-size="3" font-family="sans-serif" text-anchor="middle"`, whole/2, whole+1+4*i)
		if width(line) > float64(whole-2) { // squeezed rather than cut
			fmt.Fprintf(&b, ` textLength="%d" lengthAdjust="spacingAndGlyphs"`, whole-2)
		}
		b.WriteString(">")
		if err := xml.EscapeText(&b, []byte(line)); err != nil {
			return nil, err
		}
		b.WriteString("</text>")
	}
	b.WriteString("</svg>\n")
	return b.Bytes(), nil
}

// width is about what a line takes at size 3: Chinese letters are square.
func width(line string) (w float64) {
	for _, r := range line {
		if r < 0x2e80 {
			w += 1.8
		} else {
			w += 3
		}
	}
	return w
}
