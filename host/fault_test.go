package host

import (
	"bytes"
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host/policy"
	"github.com/astrid-os/processledger/ledger/event"
)

// fault has the commit of one decision fail: the nth that has events, counted
// from when it is begun.
type fault struct {
	persist bool // the commit takes effect all the same
	late    bool // and so does the first that records what was done meanwhile

	mu    sync.Mutex
	begun bool
	n     int // decisions to come until it fails
	sites []string
	armed bool
	site  string // whose commit has failed; empty: none yet
}

// lateSite records what was done while the ledger could not commit.
const lateSite = "(*Host).recordLate"

var errFault = errors.New("the disk says no")

// saw counts a decision. It runs in the closure, and so before its commit.
func (f *fault) saw(site string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.begun {
		return
	}
	f.sites = append(f.sites, site)
	if f.n--; f.n == 0 || f.late && site == lateSite && f.site != lateSite {
		f.armed, f.site = true, site
	}
}

func (f *fault) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.begun = true
}

// next has the commit of the next decision fail.
func (f *fault) next(persist bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.begun, f.n, f.persist = true, 1, persist
}

// around is the ledger's Around.
func (f *fault) around(step string, write func() error) error {
	f.mu.Lock()
	fail := f.armed && step == "append"
	if fail {
		f.armed = false
	}
	f.mu.Unlock()
	if !fail {
		return write()
	}
	if f.persist {
		if err := write(); err != nil {
			return err
		}
	}
	return errFault
}

func (f *fault) seen() (sites []string, failed string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.sites), f.site
}

// faulted runs a workload in a world with a fault, ends what it left, and checks
// the world.
func faulted(t *testing.T, workload string, f *fault) {
	w := newWorld(t, func(w *world) {
		w.fault, w.ledger.Around = f, f.around
		w.config.Principals = map[string]policy.Quotas{"hasty": {Sync: 1, MaxTimeout: 200 * time.Millisecond}}
	})
	d := &drivenHost{witness: w.witness}
	w.passing = func(p string) {
		if d.passing != nil {
			d.passing(p)
		}
	}
	var err error
	switch workload {
	case "recover":
		if _, _, err := w.host.BeginInvocation(t.Context(), alice, "x", nil); err != nil {
			t.Fatal(err)
		}
		w.leaveWork()
		f.begin()
		w.open()
	case "fired":
		w.leaveFired()
		f.begin()
		w.open()
		w.until("it is recorded that the shim was alone", func() bool { fired, _ := w.timers(); return len(fired) > 0 })
	default:
		f.begin()
		d.Host = w.host
		err = workloads[workload](d)
	}
	var answer *Error
	if _, failed := f.seen(); err != nil && (failed == "" || !errors.As(err, &answer) && !strings.Contains(err.Error(), "want")) {
		t.Errorf("the workload: %v", err)
	}
	w.until("the ledger goes on", func() bool { return !w.hasFailed() })
	w.stopKept(t.Context())
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err = w.host.Shutdown(ctx, "end of the test")
	if _, failed := f.seen(); err != nil && failed != "(*Host).shutdown" {
		t.Errorf("shutdown: %v", err)
	}
	w.until("the ledger goes on", func() bool { return !w.hasFailed() })
	w.until("no directory is left", func() bool { return w.directories() == 0 })
	if n := w.live.Snapshot(); n.HeldAll().Total() != 0 || len(n.Cancels()) != 0 || len(n.Invocations()) != 0 {
		t.Errorf("%d handles, %d cancels and %d invocations are open", n.HeldAll().Total(), len(n.Cancels()), len(n.Invocations()))
	}
	w.onlyOnce()
	w.dead()
	if t.Failed() {
		t.Logf("%q failed, of %q", f.site, f.sites)
		for _, e := range w.events(1) {
			b, _ := e.MarshalJSON()
			t.Logf("%.400s", b)
		}
	}
}

// leaveFired leaves a process that its shim has told that its time is up, with no
// daemon there.
func (w *world) leaveFired() {
	w.t.Helper()
	_, r := w.keep(alice, `trap 'echo >"$WITNESS/told"' TERM; `+stays, func(r *Request) { r.MaxLifetimeMS = ptr(uint64(500)) })
	w.began(r)
	w.abandon()
	w.until("its shim has told it", func() bool { _, err := os.Stat(filepath.Join(w.witness, "told")); return err == nil })
}

// onlyOnce holds that nothing happened, or is recorded, twice.
func (w *world) onlyOnce() {
	w.t.Helper()
	seen := map[string]int{}
	count := func(id any, kind string) {
		key := kind
		switch id := id.(type) {
		case ulid.ULID:
			key += " of " + id.String()
		case []byte:
			key += " of " + ulid.ULID(id).String()
		}
		if seen[key]++; seen[key] > 1 {
			w.t.Errorf("twice: %s", key)
		}
	}
	late := map[int64]bool{}
	for _, e := range w.events(1) {
		switch b := e.Body.(type) {
		case *event.ProcessStarted, *event.HandleReleased:
			count(e.Handle, e.Kind().String())
		case *event.ProcessExited, *event.ProcessLost, *event.SpawnAborted, *event.SpawnFailed:
			count(e.Handle, "an end")
		case *event.TimerFired:
			count(e.Handle, "timer "+b.Timer)
		case *event.CancelRequested:
			count(b.Cancel, "cancel.requested")
		case *event.CancelFinished:
			count(b.Cancel, "cancel.finished")
		case *event.SignalRequested:
			if b.Late && late[b.SentWall] {
				w.t.Errorf("event %d: a late signal is recorded twice", e.Seq)
			}
			late[b.SentWall] = true
		case *event.SignalSent:
			if requested, err := w.live.Ledger().Get(w.t.Context(), b.Request); err != nil || requested.Kind() != event.KindSignalRequested {
				w.t.Errorf("event %d is of a signal that nobody requested: %v", e.Seq, err)
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, line := range w.lines {
		if strings.HasPrefix(line, "act signal SIGUSR1") {
			count(nil, line)
		}
	}
}

// TestEveryCommitFails has each decision of each workload fail, once so that
// nothing of it is in the ledger, and once so that all of it is.
func TestEveryCommitFails(t *testing.T) {
	var mu sync.Mutex
	failed, ran := map[string]bool{}, 0
	t.Run("workloads", func(t *testing.T) {
		for _, name := range append(slices.Collect(maps.Keys(workloads)), "fired") {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				mu.Lock()
				ran++
				mu.Unlock()
				dry := &fault{}
				t.Run("no fault", func(t *testing.T) { faulted(t, name, dry) })
				sites, _ := dry.seen()
				for n, site := range sites {
					// Of many commits of one kind the first and the last will do.
					if slices.Contains(sites[:n], site) && slices.Contains(sites[n+1:], site) {
						continue
					}
					for i := range 4 {
						f := &fault{n: n + 1, persist: i%2 == 1, late: i > 1}
						if f.late && site != "(*Host).Cancel" && site != "(*owner).stop" {
							continue
						}
						t.Run(faultName(n, site, f), func(t *testing.T) {
							t.Parallel()
							faulted(t, name, f)
							_, site := f.seen()
							mu.Lock()
							failed[site] = true
							mu.Unlock()
						})
					}
				}
			})
		}
	})
	if t.Failed() || ran <= len(workloads) { // -run chose some of them
		return
	}
	for _, site := range deciders(t) {
		if !failed[site] {
			t.Errorf("no workload has a commit of %s: add one", site)
		}
	}
}

func faultName(n int, site string, f *fault) string {
	what := "lost"
	if f.persist {
		what = "persisted"
	}
	if f.late {
		what += " twice"
	}
	return strings.NewReplacer("(*", "", ")", "").Replace(site) + " " + what + " " + strconv.Itoa(n)
}

// deciders are the functions of this package that submit something to the
// ledger, from its source.
func deciders(t *testing.T) (sites []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") || path == "record.go" {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, bytes.NewReader(text), 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && submits(fn) {
				sites = append(sites, siteOf(fn))
			}
		}
	}
	if len(sites) < 20 {
		t.Errorf("only %d functions submit: %q", len(sites), sites)
	}
	return sites
}

// submits tells whether a function asks for a commit by itself.
func submits(fn *ast.FuncDecl) (yes bool) {
	ast.Inspect(fn, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		switch f := call.Fun.(type) {
		case *ast.SelectorExpr:
			switch f.Sel.Name {
			case "decide", "decideEnding", "record", "Decide", "DecideEnding", "Submit", "SubmitEnding":
				yes = true
			}
		case *ast.Ident:
			yes = yes || f.Name == "decide" || f.Name == "commit"
		}
		return true
	})
	return yes && fn.Name.Name != "decideNow"
}

func siteOf(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return fn.Name.Name
	}
	star := fn.Recv.List[0].Type.(*ast.StarExpr)
	return "(*" + star.X.(*ast.Ident).Name + ")." + fn.Name.Name
}
