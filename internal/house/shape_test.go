package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"testing"
)

// The bounds of what can be read at once. Tests may be longer: a table of cases
// is no function to follow.
const (
	longestFunction = 60  // lines
	longestFile     = 500 // lines
)

// TestFilesAndFunctionsCanBeRead holds the bounds, and that every exported name
// has a comment.
func TestFilesAndFunctionsCanBeRead(t *testing.T) {
	for _, p := range listed(t) {
		for _, name := range p.GoFiles {
			checkShape(t, filepath.Join(p.Dir, name), filepath.Join(p.room(), name))
		}
	}
}

func checkShape(t *testing.T, path, name string) {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	line := func(p token.Pos) int { return fset.Position(p).Line }
	if n := line(file.End()); n > longestFile {
		t.Errorf("%s has %d lines, more than %d", name, n, longestFile)
	}
	above := 0 // the last line of the declaration before
	for _, d := range file.Decls {
		joined := line(d.Pos()) == above+1 // one comment does for functions that stand together
		above = line(d.End())
		if f, ok := d.(*ast.FuncDecl); ok {
			if n := line(f.End()) - line(f.Pos()) + 1; n > longestFunction {
				t.Errorf("%s: %s has %d lines, more than %d", name, f.Name.Name, n, longestFunction)
			}
		}
		if joined {
			continue
		}
		for _, bare := range bareNames(d) {
			t.Errorf("%s:%d: %s is exported and has no comment", name, line(bare.Pos()), bare.Name)
		}
	}
}

// bareNames returns the exported names of a declaration that no comment stands
// at. One comment does for a group of names.
func bareNames(d ast.Decl) (bare []*ast.Ident) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) {
			bare = append(bare, d.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			var names []*ast.Ident
			commented := d.Doc != nil
			switch s := s.(type) {
			case *ast.TypeSpec:
				names, commented = []*ast.Ident{s.Name}, commented || s.Doc != nil
			case *ast.ValueSpec:
				names, commented = s.Names, commented || s.Doc != nil || s.Comment != nil
			}
			for _, n := range names {
				if !commented && n.IsExported() {
					bare = append(bare, n)
				}
			}
		}
	}
	return bare
}

// exportedReceiver tells whether a function is no method, or one of a type that
// others see.
func exportedReceiver(f *ast.FuncDecl) bool {
	if f.Recv == nil {
		return true
	}
	t := f.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if generic, ok := t.(*ast.IndexExpr); ok {
		t = generic.X
	}
	id, ok := t.(*ast.Ident)
	return ok && id.IsExported()
}
