package template

import (
	_ "embed" // connections.yaml
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"offsite/devices"
)

//go:embed connections.yaml
var shippedConnections []byte

// connection is what all templates that reach their device in one way share.
type connection struct {
	Name       string         `yaml:"name"`
	Parameters []Parameter    `yaml:"parameters"`
	Device     map[string]any `yaml:"device"`
}

// connections reads the shipped connections by name.
func connections() (map[string]connection, error) {
	var file struct {
		Connections []connection `yaml:"connections"`
	}
	r := reader{lines: map[string]int{}}
	if err := r.read(shippedConnections, reflect.ValueOf(&file).Elem()); err != nil {
		return nil, fmt.Errorf("connections.yaml: %w", err)
	}
	known := map[string]connection{}
	var ps devices.Problems
	for i, c := range file.Connections {
		for j := range c.Parameters {
			c.Parameters[j].validate(&ps, fmt.Sprintf("connections[%d].parameters[%d]", i, j))
		}
		known[c.Name] = c
	}
	if err := ps.Err(); err != nil {
		return nil, fmt.Errorf("connections.yaml: %w", err)
	}
	return known, nil
}

// connect puts the parameters and device fields of t's connection before its own.
func (t *Template) connect(known map[string]connection) error {
	if t.Connection == "" {
		return nil
	}
	c, ok := known[t.Connection]
	if !ok {
		list := strings.Join(slices.Sorted(maps.Keys(known)), ", ")
		return devices.Invalid("connection", "not_one_of", "请选择连接方式："+list, "choose a connection: "+list)
	}
	all := []Parameter{}
	for _, p := range c.Parameters {
		if !slices.ContainsFunc(t.Parameters, func(own Parameter) bool { return own.Name == p.Name }) {
			all = append(all, p)
		}
	}
	t.Parameters = append(all, t.Parameters...)
	device := maps.Clone(c.Device)
	if device == nil {
		device = map[string]any{}
	}
	maps.Copy(device, t.Device)
	t.Device = device
	return nil
}
