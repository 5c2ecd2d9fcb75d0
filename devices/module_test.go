package devices_test

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// module is the source of a module, types known as far as it declares them
// itself, with what flows where in it.
type module struct {
	root     string
	set      *token.FileSet
	packages map[string]*types.Package
	files    []*ast.File
	info     types.Info
	literals []*ast.CompositeLit          // of structs
	sources  map[*types.Var][]source      // what flows into a variable, field, parameter or result
	needed   map[*types.Var]map[role]bool // followed already
	found    []text
}

// source is a text that flows somewhere: an expression, or what v holds.
type source struct {
	expr ast.Expr
	v    *types.Var
	kind string // of the Problem whose literal it stands in
}

func parseModule(t *testing.T, root string) *module {
	m := &module{root: root, set: token.NewFileSet(), packages: map[string]*types.Package{}, info: types.Info{
		Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{},
	}, sources: map[*types.Var][]source{}, needed: map[*types.Var]map[role]bool{}}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if name != root && (d.Name() == "node_modules" || d.Name() == "dist" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")) {
			return filepath.SkipDir
		}
		rel, err := filepath.Rel(root, name)
		if err == nil {
			_, err = m.Import(path.Join("offsite", filepath.ToSlash(rel)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range m.files {
		m.flow(f)
	}
	m.interfaces()
	return m
}

// Import parses and checks a package of the module. What others declare stays
// unknown: it makes no texts of ours.
func (m *module) Import(name string) (*types.Package, error) {
	dir, ours := strings.CutPrefix(name+"/", "offsite/")
	if !ours {
		return nil, fs.ErrNotExist
	}
	if p, ok := m.packages[name]; ok {
		return p, nil
	}
	names, err := filepath.Glob(filepath.Join(m.root, filepath.FromSlash(dir), "*.go"))
	if err != nil {
		return nil, err
	}
	var files []*ast.File
	for _, file := range names {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(m.set, file, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	conf := types.Config{Importer: m, Error: func(error) {}}
	p, _ := conf.Check(name, m.set, files, &m.info) // what is unknown is no fault
	m.packages[name] = p
	m.files = append(m.files, files...)
	return p, nil
}

// texts finds every text that ends up in fields ZH and EN beside each other, and
// in the Code beside them.
func (m *module) texts() []text {
	for _, obj := range m.info.Defs {
		name, ok := obj.(*types.TypeName)
		if !ok {
			continue
		}
		zh, en, word := said(name.Type())
		switch {
		case zh == nil || en == nil:
		case name.Name() == "Quantity": // whose name may be a symbol, such as pH
			m.need(en, role{of: partEnglish})
		default:
			m.need(zh, role{of: chinese})
			m.need(en, role{of: english})
			m.need(word, role{of: code})
		}
	}
	for _, n := range m.literals {
		m.halves(n)
	}
	return m.found
}

// said gives the fields of a struct that speaks both languages.
func said(t types.Type) (zh, en, word *types.Var) {
	s, ok := deref(t).(*types.Struct)
	if !ok {
		return nil, nil, nil
	}
	for f := range s.Fields() {
		switch f.Name() {
		case "ZH":
			zh = f
		case "EN":
			en = f
		case "Code":
			word = f
		}
	}
	return zh, en, word
}

// halves notes what the literal n leaves out beside what it says. A literal
// that says nothing is filled in later.
func (m *module) halves(n *ast.CompositeLit) {
	zh, en, word := said(m.info.TypeOf(n))
	if zh == nil || en == nil {
		return
	}
	given := map[string]bool{}
	for _, e := range n.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			given[types.ExprString(kv.Key)] = true
		}
	}
	if !given["ZH"] && !given["EN"] && !given["Code"] {
		return
	}
	for of, field := range map[use]string{chinese: "ZH", english: "EN", code: "Code"} {
		if !given[field] && (of != code || word != nil) {
			m.found = append(m.found, text{at: m.set.Position(n.Pos()), as: role{of: of}})
		}
	}
}

// need follows what flows into v. Fields that parts of a sentence come from hold
// what people called their devices and cameras: those are not our words.
func (m *module) need(v *types.Var, as role) {
	if v == nil {
		return
	}
	v = v.Origin()
	if m.needed[v][as] || (v.IsField() && as.of >= partCode) {
		return
	}
	if m.needed[v] == nil {
		m.needed[v] = map[role]bool{}
	}
	m.needed[v][as] = true
	for _, s := range m.sources[v] {
		as := as
		if as.of == code && v.IsField() {
			as.kind = s.kind
		}
		if s.v != nil {
			m.need(s.v, as)
		} else {
			m.look(s.expr, as)
		}
	}
}

// look notes what e says, and follows what it takes from elsewhere.
func (m *module) look(e ast.Expr, as role) {
	if c := m.info.Types[e].Value; c != nil && c.Kind() == constant.String {
		m.found = append(m.found, text{m.set.Position(e.Pos()), as, constant.StringVal(c)})
		return
	}
	switch e := e.(type) {
	case *ast.ParenExpr:
		m.look(e.X, as)
	case *ast.Ident, *ast.SelectorExpr:
		m.need(m.variable(e), as)
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			m.look(e.X, part(as))
			m.look(e.Y, part(as))
		}
	case *ast.IndexExpr:
		m.element(e, nil, as)
	case *ast.CallExpr:
		m.call(e, as)
	}
}

// call looks at what a function gives, or at the format and values of Sprintf.
func (m *module) call(e *ast.CallExpr, as role) {
	if f, ok := e.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Sprintf" && len(e.Args) > 0 {
		m.look(e.Args[0], as)
		for _, arg := range e.Args[1:] {
			m.look(arg, part(as))
		}
		return
	}
	if sig := signature(m.info.TypeOf(e.Fun)); sig != nil && sig.Results().Len() == 1 {
		m.need(sig.Results().At(0), as)
	}
}

// element looks at what a table has at e and then at places; a place that is
// computed stands for all.
func (m *module) element(e ast.Expr, places []ast.Expr, as role) {
	if at, ok := e.(*ast.IndexExpr); ok {
		m.element(at.X, append([]ast.Expr{at.Index}, places...), as)
		return
	}
	v := m.variable(e)
	if v == nil {
		m.entry(e, places, as)
		return
	}
	for _, s := range m.sources[v.Origin()] {
		if s.expr != nil {
			m.entry(s.expr, places, as)
		}
	}
}

// entry looks at what the literal e of a table has at places.
func (m *module) entry(e ast.Expr, places []ast.Expr, as role) {
	if len(places) == 0 {
		m.look(e, as)
		return
	}
	table, ok := e.(*ast.CompositeLit)
	if !ok {
		return
	}
	place := m.info.Types[places[0]].Value
	for i, value := range table.Elts {
		key := constant.MakeInt64(int64(i))
		if kv, ok := value.(*ast.KeyValueExpr); ok {
			key, value = m.info.Types[kv.Key].Value, kv.Value
		}
		if place == nil || key == nil || constant.Compare(place, token.EQL, key) {
			m.entry(value, places[1:], as)
		}
	}
}

func part(as role) role {
	switch as.of {
	case code:
		return role{of: partCode}
	case chinese:
		return role{of: partChinese}
	case english:
		return role{of: partEnglish}
	}
	return as
}
