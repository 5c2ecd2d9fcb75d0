package devices_test

import (
	"go/ast"
	"go/types"
	"strings"
)

// flow notes what every assignment, call, literal and return of f puts where.
func (m *module) flow(f *ast.File) {
	var around []*types.Signature // of the functions around a node
	var stack []ast.Node
	ast.Inspect(f, func(n ast.Node) bool {
		if n == nil {
			switch stack[len(stack)-1].(type) {
			case *ast.FuncDecl, *ast.FuncLit:
				around = around[:len(around)-1]
			}
			stack = stack[:len(stack)-1]
			return true
		}
		stack = append(stack, n)
		switch n := n.(type) {
		case *ast.FuncDecl:
			around = append(around, m.signatureOf(n))
		case *ast.FuncLit:
			around = append(around, signature(m.info.TypeOf(n)))
		case *ast.ReturnStmt:
			if sig := around[len(around)-1]; sig != nil {
				m.into(variables(sig.Results()), n.Results)
			}
		default:
			m.assigned(n)
		}
		return true
	})
}

func (m *module) signatureOf(n *ast.FuncDecl) *types.Signature {
	if f := m.info.Defs[n.Name]; f != nil {
		return signature(f.Type())
	}
	return nil
}

// assigned notes what n puts into variables, parameters and fields.
func (m *module) assigned(n ast.Node) {
	switch n := n.(type) {
	case *ast.AssignStmt:
		to := make([]*types.Var, len(n.Lhs))
		for i, left := range n.Lhs {
			to[i] = m.variable(left)
		}
		m.into(to, n.Rhs)
	case *ast.ValueSpec:
		to := make([]*types.Var, len(n.Names))
		for i, name := range n.Names {
			to[i], _ = m.info.Defs[name].(*types.Var)
		}
		m.into(to, n.Values)
	case *ast.CallExpr:
		if sig := signature(m.info.TypeOf(n.Fun)); sig != nil {
			m.into(variables(sig.Params()), n.Args)
		}
	case *ast.RangeStmt:
		if n.Value != nil { // any element
			m.add(m.variable(n.Value), source{expr: &ast.IndexExpr{X: n.X, Index: n.X}})
		}
	case *ast.CompositeLit:
		m.literal(n)
	}
}

// literal notes what a struct's literal puts into its fields.
func (m *module) literal(n *ast.CompositeLit) {
	s, ok := deref(m.info.TypeOf(n)).(*types.Struct)
	if !ok {
		return
	}
	kind, keyed := kindOf(n, s), false
	for i, e := range n.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			keyed = true
			m.add(m.variable(kv.Key), source{expr: kv.Value, kind: kind})
		} else if i < s.NumFields() {
			m.add(s.Field(i), source{expr: e, kind: kind})
		}
	}
	if keyed {
		m.literals = append(m.literals, n)
	}
}

// kindOf gives the kind that the literal of a Problem is of.
func kindOf(n *ast.CompositeLit, s *types.Struct) string {
	for _, e := range n.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok && types.ExprString(kv.Key) == "Kind" {
			kind := types.ExprString(kv.Value)
			return kind[strings.LastIndexByte(kind, '.')+1:]
		}
	}
	for f := range s.Fields() {
		if f.Name() == "Kind" {
			return "ErrInvalid"
		}
	}
	return ""
}

// into notes that values go into variables, those of one call into several.
func (m *module) into(to []*types.Var, values []ast.Expr) {
	if len(values) == 1 && len(to) > 1 {
		if call, ok := values[0].(*ast.CallExpr); ok {
			m.spread(to, call)
			return
		}
	}
	for i, value := range values {
		if i < len(to) {
			m.add(to[i], source{expr: value})
		}
	}
}

func (m *module) spread(to []*types.Var, call *ast.CallExpr) {
	sig := signature(m.info.TypeOf(call.Fun))
	if sig == nil {
		return
	}
	for i, v := range variables(sig.Results()) {
		if i < len(to) {
			m.add(to[i], source{v: v})
		}
	}
}

// add notes a source of v. Where a function is put into v, what is given to a
// call of v goes into that function's parameters, and its results come out.
func (m *module) add(v *types.Var, s source) {
	if v == nil {
		return
	}
	v = v.Origin()
	outer := signature(v.Type())
	if outer == nil {
		m.sources[v] = append(m.sources[v], s)
		return
	}
	var inner *types.Signature
	if s.expr != nil {
		inner = signature(m.info.TypeOf(s.expr))
	} else {
		inner = signature(s.v.Type())
	}
	m.join(outer, inner)
}

// join lets what is given to outer go into inner, and what inner gives come out.
func (m *module) join(outer, inner *types.Signature) {
	if inner == nil || inner == outer {
		return
	}
	for i, p := range variables(inner.Params()) {
		if i < outer.Params().Len() {
			m.add(p, source{v: outer.Params().At(i)})
		}
	}
	for i, r := range variables(outer.Results()) {
		if i < inner.Results().Len() {
			m.add(r, source{v: inner.Results().At(i)})
		}
	}
}

// interfaces joins the methods of every interface of the module with those of
// the types that have them.
func (m *module) interfaces() {
	var contracts, kinds []types.Type
	for _, obj := range m.info.Defs {
		switch name, ok := obj.(*types.TypeName); {
		case !ok:
		case types.IsInterface(name.Type()):
			contracts = append(contracts, name.Type())
		default:
			kinds = append(kinds, types.NewPointer(name.Type()))
		}
	}
	for _, contract := range contracts {
		i := contract.Underlying().(*types.Interface)
		for _, kind := range kinds {
			if i.NumMethods() == 0 || !types.Implements(kind, i) {
				continue
			}
			for method := range i.Methods() {
				if f, _, _ := types.LookupFieldOrMethod(kind, true, method.Pkg(), method.Name()); f != nil {
					m.join(method.Signature(), signature(f.Type()))
				}
			}
		}
	}
}

// variable is the variable or field that e names, nil if it names none.
func (m *module) variable(e ast.Expr) *types.Var {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return m.variable(e.X)
	case *ast.Ident:
		if v, ok := m.info.Defs[e].(*types.Var); ok {
			return v
		}
		v, _ := m.info.Uses[e].(*types.Var)
		return v
	case *ast.SelectorExpr:
		v, _ := m.info.Uses[e.Sel].(*types.Var)
		return v
	}
	return nil
}

func deref(t types.Type) types.Type {
	if t == nil {
		return nil
	}
	if p, ok := t.Underlying().(*types.Pointer); ok {
		t = p.Elem()
	}
	return t.Underlying()
}

// signature is the type of a function, nil of anything else.
func signature(t types.Type) *types.Signature {
	if t == nil {
		return nil
	}
	s, _ := t.Underlying().(*types.Signature)
	return s
}

func variables(t *types.Tuple) []*types.Var {
	vs := make([]*types.Var, t.Len())
	for i := range vs {
		vs[i] = t.At(i)
	}
	return vs
}
