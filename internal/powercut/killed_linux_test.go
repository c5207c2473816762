package powercut

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// testKilledBefore: the daemon is killed, another one opens what it left, with
// all that the machine still knows and the disk does not, and then the power
// fails. What the second one showed anybody is there.
func (rec *recording) testKilledBefore(t *testing.T) {
	r := rand.New(rand.NewPCG(seed(t), 1))
	for _, k := range rec.kills(r) {
		t.Run(fmt.Sprintf("%s at %d", k.after, k.cut), func(t *testing.T) { rec.killedAt(t, k.cut) })
	}
}

// kill is a moment at which a daemon dies.
type kill struct {
	after string // what it has done just before
	cut   int
}

// kills chooses moments after each kind of step on a segment: its flush is still to
// come then.
func (rec *recording) kills(r *rand.Rand) []kill {
	names := rec.h.paths()
	kinds := map[string][]kill{}
	var order []string
	add := func(after string, cut int) {
		if len(kinds[after]) == 0 {
			order = append(order, after)
		}
		kinds[after] = append(kinds[after], kill{after, cut})
	}
	for _, o := range rec.h.ops {
		path := names[o.file]
		switch {
		case o.enter < 0 || !strings.HasSuffix(path, ".seg"):
			continue
		case o.kind == opRename:
			add("a segment was named", o.exit+1)
		case o.kind == opWrite && o.off < 2*4096 && o.strict != never:
			add("a commit's last page was written", o.exit+1)
		case o.kind == opWrite:
			add("a page was written", o.exit+1)
		}
	}
	most := 1
	if os.Getenv("POWERCUT_STATES") == "all" {
		most = 20
	}
	var chosen []kill
	for _, after := range order {
		all := kinds[after]
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		chosen = append(chosen, all[:min(most, len(all))]...)
	}
	return chosen
}

// killedAt has a second process open what a kill at a cut leaves, records it,
// and cuts the power of that.
func (rec *recording) killedAt(t *testing.T, cut int) {
	dir := filepath.Join(t.TempDir(), "second")
	all := Pickers(0)[1] // the machine still knows everything
	if err := NewReplayer(rec.h).State(cut, Strict, all).Lay(dir, "", []string{"data/ledger"}, func(string) bool { return true }); err != nil {
		t.Fatal(err)
	}
	h := rec.h.Continue(cut, dir)
	calls, end := reopen(t, dir)
	if err := h.Take(calls, end); err != nil {
		t.Fatal(err)
	}
	if len(h.Unplaced) > 0 {
		t.Fatalf("the trace is not understood: %v", h.Unplaced)
	}
	tr := &truth{promises: []promise{rec.truth.due(cut)}}
	tr.promises[0].at = -1
	tr.read(t, filepath.Join(dir, "data"))
	tr.shown(t, calls)
	second := *rec
	second.h, second.truth, second.truthFile = h, tr, filepath.Join(dir, "truth")
	second.trace = filepath.Join(dir, "trace")
	if err := os.WriteFile(second.truthFile, marshal(tr.raw), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, second.ledgerSweep(h, 300).run(t))
}

// reopenEnv has the test binary be the second process; see reopenMain.
const reopenEnv = "POWERCUT_REOPEN"

// reopen records the second process.
func reopen(t *testing.T, dir string) (calls []*Call, end int) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	trace := filepath.Join(dir, "trace")
	cmd := exec.Command("strace", append(straceArgs(trace), exe, "-test.run=^$")...)
	cmd.Env = append(os.Environ(), reopenEnv+"="+filepath.Join(dir, "data"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the second process: %v\n%s", err, out)
	}
	return readTrace(t, trace)
}

// shownLine is what the second process writes when it lets others know of events
// up to one.
const shownLine = "shown %d\n"

// reopenMain opens a ledger, shows it, and goes on in it.
func reopenMain(dir string) int {
	live, err := projector.Open(filepath.Join(dir, "ledger"), options())
	for i := 0; err == nil && i < 4; i++ {
		_, last := live.Ledger().Bounds()
		fmt.Printf(shownLine, last)
		err = begin(live)
	}
	if err == nil {
		err = live.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// shown finds what the second process showed.
func (tr *truth) shown(t *testing.T, calls []*Call) {
	t.Helper()
	n := 0
	for _, c := range calls {
		var last uint64
		if c.Name != "write" || c.Args[0].FD != 1 {
			continue
		}
		if _, err := fmt.Sscanf(string(c.Args[1].Str), shownLine, &last); err == nil {
			tr.promises = append(tr.promises, promise{c.Enter, last, fmt.Sprintf("after the kill, event %d was shown", last)})
			n++
		}
	}
	if n != 4 {
		t.Errorf("the second process showed what it had %d times: the trace is not understood", n)
	}
}

// read reads the ledger that the recorded daemons left.
func (tr *truth) read(t *testing.T, data string) {
	t.Helper()
	a, err := ledger.OpenArchive(filepath.Join(data, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for r, err := range a.Raw(t.Context(), 0, 0) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := event.Decode(r.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		tr.raw = append(tr.raw, append([]byte(nil), r.Bytes...))
		tr.events = append(tr.events, e)
	}
}
