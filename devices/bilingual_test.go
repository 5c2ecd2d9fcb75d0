package devices_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Every Problem that the module makes speaks both languages: the Chinese text
// has Chinese characters, the English one has none. Texts that are not written
// where the Problem is made are for the tests beside them.
func TestEveryProblemSpeaksBothLanguages(t *testing.T) {
	found := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == "dist" || (strings.HasPrefix(d.Name(), ".") && path != "..")) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		inRoot := filepath.Dir(path) == filepath.Join("..", "devices")
		ast.Inspect(file, func(n ast.Node) bool {
			checkAssigned(t, set, n)
			code, zh, en, ok := problemTexts(n, inRoot)
			if !ok {
				return true
			}
			found++
			at := set.Position(n.Pos())
			if text, whole := literal(code); whole && text == "" {
				t.Errorf("%s: no code", at)
			}
			checkChinese(t, at, zh)
			checkEnglish(t, at, en)
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 100 {
		t.Errorf("only %d problems were found; does the test still know how they are made?", found)
	}
}

// checkAssigned looks at texts that are put into a Problem after it was made.
func checkAssigned(t *testing.T, set *token.FileSet, n ast.Node) {
	assign, ok := n.(*ast.AssignStmt)
	if !ok || assign.Tok != token.ASSIGN || len(assign.Lhs) != len(assign.Rhs) {
		return
	}
	for i, left := range assign.Lhs {
		if field, ok := left.(*ast.SelectorExpr); ok && field.Sel.Name == "ZH" {
			checkChinese(t, set.Position(n.Pos()), assign.Rhs[i])
		} else if ok && field.Sel.Name == "EN" {
			checkEnglish(t, set.Position(n.Pos()), assign.Rhs[i])
		}
	}
}

func checkChinese(t *testing.T, at token.Position, e ast.Expr) {
	t.Helper()
	if text, whole := literal(e); whole && !han(text) {
		t.Errorf("%s: no Chinese in %q", at, text)
	}
}

func checkEnglish(t *testing.T, at token.Position, e ast.Expr) {
	t.Helper()
	if text, whole := literal(e); han(text) || (whole && text == "") {
		t.Errorf("%s: no English in %q", at, text)
	}
}

// problemTexts gives code, Chinese and English of a call of devices.Invalid or
// of a literal devices.Problem; nil stands for what a literal leaves out. A
// literal without any text is filled in later.
func problemTexts(n ast.Node, inRoot bool) (code, zh, en ast.Expr, ok bool) {
	switch n := n.(type) {
	case *ast.CallExpr:
		if !isDevices(n.Fun, "Invalid", inRoot) || len(n.Args) != 4 {
			return nil, nil, nil, false
		}
		return n.Args[1], n.Args[2], n.Args[3], true
	case *ast.CompositeLit:
		if !isDevices(n.Type, "Problem", inRoot) || len(n.Elts) == 0 {
			return nil, nil, nil, false
		}
		fields := make(map[string]ast.Expr)
		for _, elt := range n.Elts {
			if kv, ok := elt.(*ast.KeyValueExpr); ok {
				if name, ok := kv.Key.(*ast.Ident); ok {
					fields[name.Name] = kv.Value
				}
			}
		}
		code, zh, en = fields["Code"], fields["ZH"], fields["EN"]
		return code, zh, en, code != nil || zh != nil || en != nil
	}
	return nil, nil, nil, false
}

func isDevices(e ast.Expr, name string, inRoot bool) bool {
	switch e := e.(type) {
	case *ast.SelectorExpr:
		pkg, ok := e.X.(*ast.Ident)
		return ok && pkg.Name == "devices" && e.Sel.Name == name
	case *ast.Ident:
		return inRoot && e.Name == name
	}
	return false
}

// literal gives the text that stands in the source: of a string, of the format
// of Sprintf, of strings put together; "" for what was left out. It is whole
// when no part of it is computed elsewhere.
func literal(e ast.Expr) (text string, whole bool) {
	switch e := e.(type) {
	case nil:
		return "", true
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, err == nil
	case *ast.BinaryExpr:
		left, wholeLeft := literal(e.X)
		right, wholeRight := literal(e.Y)
		return left + right, wholeLeft && wholeRight
	case *ast.CallExpr:
		if f, ok := e.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Sprintf" && len(e.Args) > 0 {
			return literal(e.Args[0])
		}
	}
	return "", false
}
