package api

import (
	"encoding"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/gateway/api/contract"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestDocumentAndStructsHaveTheSameFields compares what is registered, whose
// Go types are not made from the document, with its schemas: names, types, and
// which may be left out.
func TestDocumentAndStructsHaveTheSameFields(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]reflect.Type{
		"Entity": reflect.TypeFor[devices.Entity](), "SiteRole": reflect.TypeFor[devices.Role](), "Site": reflect.TypeFor[devices.Site](),
		"Outlet": reflect.TypeFor[devices.Outlet](), "Point": reflect.TypeFor[devices.Point](), "Device": reflect.TypeFor[devices.Device](),
		"ModbusSettings": reflect.TypeFor[devices.ModbusSettings](), "SerialLine": reflect.TypeFor[devices.SerialLine](), "Label": reflect.TypeFor[devices.Label](), "MQTTSettings": reflect.TypeFor[devices.MQTTSettings](), "StatusTopic": reflect.TypeFor[devices.StatusTopic](),
		"Binding": reflect.TypeFor[devices.Binding](), "Register": reflect.TypeFor[devices.Register](), "Topic": reflect.TypeFor[devices.Topic](),
		"Camera": reflect.TypeFor[devices.Camera](), "Limit": reflect.TypeFor[devices.Limit](),
		"EventDetail": reflect.TypeFor[contract.Detail](), "Event": reflect.TypeFor[contract.Detail]().Field(0).Type,
		"Acknowledgment": reflect.TypeFor[contract.Detail]().Field(0).Type.Field(fieldIndex(t, reflect.TypeFor[contract.Detail]().Field(0).Type, "Acknowledgment")).Type.Elem(),
	}
	for name, typ := range types {
		schema := doc.Components.Schemas[name].Value
		fields := map[string]string{}
		for _, f := range reflect.VisibleFields(typ) {
			tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if tag == "" || tag == "-" {
				continue
			}
			fields[tag] = kindOf(f.Type)
			optional := strings.Contains(options, "omit")
			if required := slices.Contains(schema.Required, tag); required == optional && tag != "from" {
				t.Errorf("%s.%s: required in the document: %v, left out when empty: %v", name, tag, required, optional)
			}
		}
		for field, kind := range fields {
			property := schema.Properties[field]
			if property == nil {
				t.Errorf("the document lacks %s.%s", name, field)
				continue
			}
			if got := schemaKind(property.Value); got != kind {
				t.Errorf("%s.%s is %s in the document and %s in Go", name, field, got, kind)
			}
		}
		for field := range schema.Properties {
			if _, ok := fields[field]; !ok {
				t.Errorf("Go lacks %s.%s", name, field)
			}
		}
	}
}

func fieldIndex(t *testing.T, typ reflect.Type, name string) int {
	t.Helper()
	f, ok := typ.FieldByName(name)
	if !ok {
		t.Fatalf("%s has no %s", typ, name)
	}
	return f.Index[0]
}

func kindOf(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if p := reflect.PointerTo(t); p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) || p.Implements(reflect.TypeFor[json.Unmarshaler]()) || t.Kind() == reflect.String {
		return "string"
	}
	switch t.Kind() {
	case reflect.Struct:
		return "object"
	case reflect.Slice:
		return "array"
	case reflect.Float64:
		return "number"
	case reflect.Bool:
		return "boolean"
	default:
		return "integer"
	}
}

func schemaKind(s *openapi3.Schema) string {
	if len(s.AllOf) == 1 {
		return schemaKind(s.AllOf[0].Value)
	}
	return (*s.Type)[0]
}

func TestDocumentFaultsStopTheStart(t *testing.T) {
	good := string(document)
	tests := []struct {
		name, old, fresh, want string
	}{
		{"no roles", "x-roles: [platform]", "x-note: nobody", "POST /dispatch/commands: no x-roles"},
		{"unknown role", "x-roles: [platform]", "x-roles: [boss]", "unknown role boss"},
		{"no handler", "operationId: receiveCommand", "operationId: receiveNothing", `no handler for "receiveNothing"`},
		{"not OpenAPI", "openapi: 3.0.3", "openapi: 1", "read openapi.yaml"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bad := strings.Replace(good, tt.old, tt.fresh, 1)
			if bad == good {
				t.Fatal("nothing was replaced")
			}
			list, err := operations([]byte(bad))
			_, missing := bind(list, New(Backend{}, nil).handlers())
			if err = errors.Join(err, missing); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestEveryHandlerIsInTheDocument(t *testing.T) {
	a := New(Backend{}, nil)
	list, err := a.Operations()
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]echo.HandlerFunc{}
	for _, o := range list {
		named[o.ID] = o.Handler
	}
	for id := range a.handlers() {
		if named[id] == nil {
			t.Errorf("%s has a handler and no place in the document", id)
		}
	}
}

func TestGeneratedTypesAreFresh(t *testing.T) {
	text, err := os.ReadFile("contract/types.gen.go")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		t.Fatal(err)
	}
	for name := range doc.Components.Schemas {
		name = strings.ReplaceAll(name, "Id", "ID")
		if !strings.Contains(string(text), "\ntype "+name+" ") {
			t.Errorf("contract/types.gen.go has no %s; run go generate ./gateway/api", name)
		}
	}
}
