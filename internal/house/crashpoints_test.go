package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/astrid-os/processledger/internal/crashpoint"
)

// TestCrashPointsAreListedOnce holds that the table in internal/crashpoint and
// the calls in the code agree: no call without a row, no row without a call.
func TestCrashPointsAreListedOnce(t *testing.T) {
	calls := crashCalls(t, filepath.Join("..", ".."))
	rows := map[string]bool{}
	for _, p := range crashpoint.Points {
		if rows[p.Name] {
			t.Errorf("crash point %q stands in the table twice", p.Name)
		}
		rows[p.Name] = true
		if p.Leaves == "" {
			t.Errorf("crash point %q does not say what a crash there leaves", p.Name)
		}
		if len(calls[p.Name]) == 0 {
			t.Errorf("crash point %q stands in the table and is never passed", p.Name)
		}
	}
	for name, at := range calls {
		if !rows[name] {
			t.Errorf("%s: crash point %q is not in crashpoint.Points", at[0], name)
		}
	}
}

// crashCalls finds every crashpoint.Here("name") below root.
func crashCalls(t *testing.T, root string) map[string][]string {
	t.Helper()
	calls := map[string][]string{}
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		src, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(src), "crashpoint.Here(") {
			return err
		}
		file, err := parser.ParseFile(fset, path, src, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if name, ok := crashCall(n); ok {
				calls[name] = append(calls[name], fset.Position(n.Pos()).String())
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

// crashCall returns the name if n is a call of crashpoint.Here. A name that is
// no literal counts as "(not a literal)", which no table has.
func crashCall(n ast.Node) (string, bool) {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return "", false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != "Here" {
		return "", false
	}
	if x, ok := sel.X.(*ast.Ident); !ok || x.Name != "crashpoint" {
		return "", false
	}
	if lit, ok := call.Args[0].(*ast.BasicLit); ok {
		if name, err := strconv.Unquote(lit.Value); err == nil {
			return name, true
		}
	}
	return "(not a literal)", true
}
