package onvif

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Bounds of a document.
const (
	mostBytes    = 1 << 20
	mostDepth    = 48
	mostElements = 40_000
)

var (
	errLarge   = errors.New("the answer is too large")
	errGarbled = errors.New("the answer is no XML that can be read")
)

// element is a node of a document; names are local ones.
type element struct {
	name     string
	space    string
	attrs    []xml.Attr
	text     string // of its own, trimmed
	children []*element
}

// node is an element that is being read. Its text comes in pieces, as many as
// there are children and comments.
type node struct {
	*element
	said strings.Builder
}

// parse reads one document. Its errors wrap errLarge, errGarbled or that of r.
func parse(r io.Reader) (*element, error) {
	limited := &io.LimitedReader{R: r, N: mostBytes + 1}
	d := xml.NewDecoder(limited)
	var open []*node
	var root *element
	for count := 0; ; {
		token, err := d.Token()
		switch {
		case limited.N <= 0:
			return nil, errLarge
		case errors.Is(err, io.EOF):
			if root == nil || len(open) > 0 {
				return nil, fmt.Errorf("%w: it ends early", errGarbled)
			}
			return root, nil
		case err != nil:
			if syntax := new(xml.SyntaxError); errors.As(err, &syntax) {
				return nil, fmt.Errorf("%w: %w", errGarbled, err)
			}
			return nil, err
		}
		switch t := token.(type) {
		case xml.Directive:
			return nil, fmt.Errorf("%w: it declares a document type", errGarbled)
		case xml.StartElement:
			if count++; count > mostElements || len(open) >= mostDepth {
				return nil, errLarge
			}
			e := &element{name: t.Name.Local, space: t.Name.Space, attrs: t.Copy().Attr}
			switch {
			case len(open) > 0:
				parent := open[len(open)-1]
				parent.children = append(parent.children, e)
			case root != nil:
				return nil, fmt.Errorf("%w: it has two roots", errGarbled)
			default:
				root = e
			}
			open = append(open, &node{element: e})
		case xml.EndElement:
			last := open[len(open)-1]
			last.text = strings.TrimSpace(last.said.String())
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				open[len(open)-1].said.Write(t)
			}
		}
	}
}

// at follows a path of names down to the first element there; nil if there is
// none. It may be called on nil.
func (e *element) at(path ...string) *element {
	for _, name := range path {
		if e == nil {
			return nil
		}
		var next *element
		for _, c := range e.children {
			if c.name == name {
				next = c
				break
			}
		}
		e = next
	}
	return e
}

// all gives the children of a name.
func (e *element) all(name string) []*element {
	var list []*element
	if e != nil {
		for _, c := range e.children {
			if c.name == name {
				list = append(list, c)
			}
		}
	}
	return list
}

// find gives the first element of a name below e, depth first.
func (e *element) find(name string) *element {
	if e == nil {
		return nil
	}
	for _, c := range e.children {
		if c.name == name {
			return c
		}
		if f := c.find(name); f != nil {
			return f
		}
	}
	return nil
}

// value is the text of what stands at a path, shortened to what a person reads.
func (e *element) value(path ...string) string {
	if at := e.at(path...); at != nil {
		return clip(at.text, 512)
	}
	return ""
}

func (e *element) attr(name string) string {
	if e == nil {
		return ""
	}
	for _, a := range e.attrs {
		if a.Name.Local == name {
			return clip(a.Value, 512)
		}
	}
	return ""
}

// clip bounds a text, between characters.
func clip(s string, most int) string {
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "")
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder never fails
	return b.String()
}
