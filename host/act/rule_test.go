//go:build linux

package act

import (
	"errors"
	"go/ast"
	"go/types"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

func TestGoTakesOnlyTheReceiptOfItsOwnGrant(t *testing.T) {
	h := newHouse(t, IsolationNone)
	c, other := h.prepare(h.sh("echo ran >>witness")), h.prepare(h.spec("true"))
	good := h.decided(c.ID())
	for what, r := range map[string]struct {
		receipt *ledger.Receipt
		want    error
	}{
		"no receipt":        {nil, ErrRefused},
		"a zero receipt":    {new(ledger.Receipt), ErrRefused},
		"a refusal":         {h.commit(c.ID(), &event.SpawnDecided{Outcome: event.OutcomeRefused}), ErrRefused},
		"another kind":      {h.commit(c.ID(), &event.SignalRequested{Signal: 9}), ErrRefused},
		"another handle":    {h.decided(other.ID()), ledger.ErrReceiptMismatch},
		"another's receipt": {foreign(t, c), ledger.ErrReceiptForeign},
	} {
		if err := c.Go(r.receipt); !errors.Is(err, r.want) {
			t.Errorf("go with %s: %v, want %v", what, err, r.want)
		}
	}
	if f := h.look(c.ID()); f.Go || exists(h.dir+"/witness") {
		t.Fatal("it ran")
	}
	if err := c.Go(good); err != nil {
		t.Fatal(err)
	}
	if err := c.Go(good); !errors.Is(err, ledger.ErrReceiptUsed) {
		t.Errorf("go twice: %v", err)
	}
	h.exited(c)
	if err := c.Abandon(); err == nil {
		t.Error("a program that ran was abandoned")
	}
	if err := other.Abandon(); err != nil {
		t.Error(err)
	}
}

// foreign is a good receipt for c, of another ledger.
func foreign(t *testing.T, c *Child) *ledger.Receipt {
	l, err := ledger.Open(t.TempDir(), ledger.Options{Fold: noFold{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return (&house{t: t, ledger: l}).decided(c.ID())
}

func TestASignalIsSentOnceAndAsRecorded(t *testing.T) {
	h := newHouse(t, IsolationNone)
	c := h.start(h.sh("trap 'echo usr1' USR1; echo up; while :; do sleep 0.01; done"))
	h.started(c)
	h.waitOutput(c, "up")
	if _, err := c.Signal(h.decided(c.ID())); !errors.Is(err, ledger.ErrReceiptMismatch) {
		t.Errorf("signal by a decision: %v", err)
	}
	if _, err := c.Signal(nil); !errors.Is(err, ledger.ErrReceiptForeign) {
		t.Errorf("signal by nothing: %v", err)
	}
	r := h.commit(c.ID(), &event.SignalRequested{Signal: 10, Target: event.TargetProgram, Cause: "signal"})
	if got, err := c.Signal(r); err != nil || !got.Delivered {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := c.Signal(r); !errors.Is(err, ledger.ErrReceiptUsed) {
		t.Errorf("signal twice: %v", err)
	}
	h.waitOutput(c, "usr1")
	h.kill(c)
}

func TestEmergencyEndsAndRemembers(t *testing.T) {
	h := newHouse(t, IsolationNone)
	c := h.start(h.spec("sleep", "1000"))
	h.started(c)
	scope := event.Scope{Principal: "alice"}
	kill := event.SignalRequested{Signal: 9, Target: event.TargetTree, Cause: "cancel"}
	for _, why := range []error{nil, errors.New("something else")} {
		if _, err := h.hands.Emergency(c, why, scope, kill); !errors.Is(err, ErrNoEmergency) {
			t.Errorf("emergency because of %v: %v", why, err)
		}
	}
	usr1 := event.SignalRequested{Signal: 10, Target: event.TargetProgram}
	if _, err := h.hands.Emergency(c, ledger.ErrFailed, scope, usr1); !errors.Is(err, ErrNoEmergency) {
		t.Errorf("emergency USR1: %v", err)
	}
	r, err := h.hands.Emergency(c, ledger.ErrFailed, scope, kill)
	if err != nil || !r.Delivered {
		t.Fatalf("%+v, %v", r, err)
	}
	if x := h.exited(c); ending(x.Exited.Exit) != "signal 9" || x.Exited.Cause != "cancel" {
		t.Errorf("ended %s", show(Notice{Exited: x}))
	}
	late := h.hands.Late()
	if len(late) != 1 || late[0].Scope.Handle != c.ID() || late[0].Scope.Principal != "alice" || !late[0].Request.Late || late[0].Request.SentWall == 0 || !late[0].Result.Delivered {
		t.Errorf("queued %+v", late)
	}
	h.hands.Recorded(1)
	if len(h.hands.Late()) != 0 {
		t.Error("a recorded intent is still queued")
	}
}

// acting names what changes the world: the messages that a shim obeys, the
// kill of a shim, and the removal of a directory.
var acting = map[string]bool{
	"host/shim.TypeGo": true, "host/shim.TypeSignal": true, "host/shim.TypeCloseStdin": true,
	"host/act.kill": true, "host/act.signal": true, "host/act.remove": true,
}

// allowedWithoutReceipt are exported functions that reach an act and take no
// receipt, with the reason.
var allowedWithoutReceipt = map[string]string{
	"Emergency":     "the one exception: it is refused unless the ledger cannot commit",
	"EmergencyKill": "the same, for a shim that only its directory is known of",
}

// TestEveryActTakesAReceipt follows the calls inside the package from the acts
// up: each exported function that reaches one has a *ledger.Receipt parameter.
func TestEveryActTakesAReceipt(t *testing.T) {
	pkg := load(t, "github.com/astrid-os/processledger/host/act")[0]
	uses := map[types.Object]map[types.Object]bool{} // function → what it mentions
	for _, f := range pkg.Syntax {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			self := pkg.TypesInfo.Defs[fn.Name]
			uses[self] = map[types.Object]bool{}
			ast.Inspect(fn.Body, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok && pkg.TypesInfo.Uses[id] != nil {
					uses[self][pkg.TypesInfo.Uses[id]] = true
				}
				return true
			})
		}
	}
	reaches := map[types.Object]bool{}
	for changed := true; changed; {
		changed = false
		for fn, used := range uses {
			for o := range used {
				if !reaches[fn] && (acting[short(o)] || reaches[o]) {
					reaches[fn], changed = true, true
				}
			}
		}
	}
	seen := 0
	for fn := range reaches {
		if !fn.Exported() {
			continue
		}
		seen++
		if !takesReceipt(fn) && allowedWithoutReceipt[fn.Name()] == "" {
			t.Errorf("%s reaches an act and takes no receipt", fn.Name())
		}
	}
	if seen < 7 { // Go, Signal, CloseStdin, Kill, Trash, TrashStray, Emergency
		t.Errorf("only %d exported functions reach an act; the test looks at the wrong things", seen)
	}
}

func short(o types.Object) string {
	if o.Pkg() == nil {
		return o.Name()
	}
	return strings.TrimPrefix(o.Pkg().Path(), "github.com/astrid-os/processledger/") + "." + o.Name()
}

func takesReceipt(fn types.Object) bool {
	params := fn.Type().(*types.Signature).Params()
	for i := range params.Len() {
		if params.At(i).Type().String() == "*github.com/astrid-os/processledger/ledger.Receipt" {
			return true
		}
	}
	return false
}

// TestNobodyWritesAReceipt holds that outside of package ledger no code makes a
// ledger.Receipt by literal, new or declaration: they come from commits.
func TestNobodyWritesAReceipt(t *testing.T) {
	const receipt = "github.com/astrid-os/processledger/ledger.Receipt"
	for _, pkg := range load(t, "github.com/astrid-os/processledger/...") {
		if pkg.PkgPath == "github.com/astrid-os/processledger/ledger" {
			continue
		}
		for _, f := range pkg.Syntax {
			ast.Inspect(f, func(n ast.Node) bool {
				var typ ast.Expr
				switch n := n.(type) {
				case *ast.CompositeLit:
					typ = n.Type
				case *ast.ValueSpec:
					typ = n.Type
				case *ast.CallExpr:
					if id, ok := n.Fun.(*ast.Ident); ok && id.Name == "new" && len(n.Args) == 1 {
						typ = n.Args[0]
					}
				}
				if typ != nil {
					if tv, ok := pkg.TypesInfo.Types[typ]; ok && tv.Type.String() == receipt {
						t.Errorf("%s makes a receipt by hand", pkg.Fset.Position(n.Pos()))
					}
				}
				return true
			})
		}
	}
}

func load(t *testing.T, pattern string) []*packages.Package {
	t.Helper()
	pkgs, err := packages.Load(&packages.Config{Mode: packages.LoadSyntax}, pattern)
	if err != nil || len(pkgs) == 0 {
		t.Fatalf("load %s: %v", pattern, err)
	}
	for _, p := range pkgs {
		for _, e := range p.Errors {
			t.Fatalf("load %s: %v", p.PkgPath, e)
		}
	}
	return pkgs
}
