package host

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/astrid-os/processledger/host/poll"
	"github.com/astrid-os/processledger/ledger/event"
)

func open(r *Request) { r.KeepStdinOpen = ptr(true) }

// attached runs a script in the persistent tier and attaches to it.
func (w *world) attached(body string, change ...func(*Request)) (*Process, string) {
	w.t.Helper()
	id, _ := w.keep(alice, body, change...)
	return w.attach(id), id
}

func (w *world) attach(id string) *Process {
	w.t.Helper()
	p, err := w.host.Attach(w.t.Context(), alice, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// withOutput waits for the exit and what is left.
func (w *world) withOutput(p *Process) *Result {
	w.t.Helper()
	bound := 20 * time.Second
	r, err := p.WaitWithOutput(w.t.Context(), alice, &bound)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// inputs are the stdin.closed of the ledger.
func (w *world) inputs() (closed []string) {
	for _, e := range w.events(1) {
		if b, ok := e.Body.(*event.StdinClosed); ok {
			closed = append(closed, fmt.Sprintf("%s after %d by %v", b.Reason, b.Bytes, e.Scope.Actor.Kind))
		}
	}
	return closed
}

func TestStdinOfAPersistentProcess(t *testing.T) {
	w := newWorld(t)
	p, _ := w.attached("cat; echo end", open, func(r *Request) { r.Stdin, r.HasStdin = []byte("prelude "), true })
	if _, err := p.WriteStdin(t.Context(), alice, make([]byte, MaxWriteBytes+1)); CodeOf(err) != TooLarge {
		t.Errorf("1 MiB and a byte: %v", err)
	}
	for _, text := range []string{"one ", "", "two "} {
		if n, err := p.WriteStdin(t.Context(), alice, []byte(text)); err != nil || n != uint32(len(text)) {
			t.Errorf("write: %d, %v", n, err)
		}
	}
	if _, err := p.WriteStdin(t.Context(), bob, []byte("x")); CodeOf(err) != CapabilityDenied {
		t.Errorf("a stranger writes: %v", err)
	}
	for range 2 {
		if err := p.CloseStdin(t.Context(), alice); err != nil {
			t.Errorf("close: %v", err)
		}
		if _, err := p.WriteStdin(t.Context(), alice, []byte("x")); CodeOf(err) != Closed {
			t.Errorf("write after close: %v", err)
		}
	}
	r := w.withOutput(p)
	if exitText(&r.Exit) != "code 0" || string(r.Stdout) != "prelude one two end\n" {
		t.Errorf("%s, %q", exitText(&r.Exit), r.Stdout)
	}
	if err := p.CloseStdin(t.Context(), alice); err != nil {
		t.Errorf("close after the exit: %v", err)
	}
	if got := w.inputs(); len(got) != 1 || got[0] != "guest after 8 by guest" {
		t.Errorf("recorded %q", got)
	}
}

// Without keep-stdin-open, and for a background process always, the input is a
// prelude.
func TestStdinThatWasNotToStayOpen(t *testing.T) {
	w := newWorld(t)
	kept, _ := w.attached(stays)
	background, _ := w.start(alice, stays)
	for _, p := range []*Process{kept, background} {
		if _, err := p.WriteStdin(t.Context(), alice, []byte("x")); CodeOf(err) != Closed {
			t.Errorf("write: %v", err)
		}
		if err := p.CloseStdin(t.Context(), alice); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if got := w.inputs(); len(got) != 0 {
		t.Errorf("recorded %q", got)
	}
}

// A write that is cut short closes the input: recorded, and seen by the program.
func TestAWriteThatIsCutShortClosesTheInput(t *testing.T) {
	w := newWorld(t)
	p, id := w.attached("trap 'break' TERM; while :; do sleep 0.01; done; cat | wc -c", open)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := p.WriteStdin(ctx, alice, make([]byte, MaxWriteBytes)); done <- err }()
	w.until("the pipe is full", func() bool { return p.o.child.StdinWritten() > 0 })
	cancel()
	if err := <-done; CodeOf(err) != Cancelled {
		t.Errorf("%v, want cancelled", err)
	}
	got := w.inputs()
	if want := fmt.Sprintf("broken after %d by host", p.o.child.StdinWritten()); len(got) != 1 || got[0] != want {
		t.Errorf("recorded %q, want %q", got, want)
	}
	if _, err := p.WriteStdin(t.Context(), alice, []byte("x")); CodeOf(err) != Closed {
		t.Errorf("write behind it: %v", err)
	}
	if i, err := w.host.ProcessStatus(t.Context(), alice, id); err != nil || i.StdinOpen {
		t.Errorf("status: %+v, %v", i, err)
	}
	if err := p.Signal(t.Context(), alice, SigTerm); err != nil {
		t.Error(err)
	}
	if r := w.withOutput(p); strings.TrimSpace(string(r.Stdout)) != fmt.Sprint(p.o.child.StdinWritten()) {
		t.Errorf("the program read %q", r.Stdout)
	}
}

// A daemon that dies leaves the input open, a write that it was in cut.
func TestStdinOverARestart(t *testing.T) {
	w := newWorld(t)
	p, id := w.attached("cat", open)
	if _, err := p.WriteStdin(t.Context(), alice, []byte("one ")); err != nil {
		t.Fatal(err)
	}
	_, cut := w.attached("while :; do sleep 0.01; done", open)
	inner := w.kept(alice, cut)
	go inner.child.WriteStdin(context.Background(), make([]byte, MaxWriteBytes))
	w.until("the pipe is full", func() bool { return inner.child.StdinWritten() > 0 })
	w.abandon()
	w.open()
	w.until("the cut input is recorded", func() bool { return len(w.inputs()) == 1 })
	if got := w.inputs()[0]; !strings.HasPrefix(got, "broken after ") {
		t.Errorf("recorded %q", got)
	}
	if _, err := w.attach(cut).WriteStdin(t.Context(), alice, []byte("x")); CodeOf(err) != Closed {
		t.Errorf("write behind a cut one: %v", err)
	}
	p = w.attach(id)
	if _, err := p.WriteStdin(t.Context(), alice, []byte("two")); err != nil {
		t.Error(err)
	}
	if err := p.CloseStdin(t.Context(), alice); err != nil {
		t.Error(err)
	}
	if r := w.withOutput(p); string(r.Stdout) != "one two" {
		t.Errorf("the program read %q", r.Stdout)
	}
	if got := w.inputs(); len(got) != 2 || got[1] != "guest after 7 by guest" {
		t.Errorf("recorded %q", got)
	}
}

// since reads everything from a cursor on.
func (w *world) since(o *owner, s Stream, cursor *string) (data string, last Chunk) {
	w.t.Helper()
	for {
		c, err := o.readSince(s, cursor, 1000)
		if err != nil {
			w.t.Fatal(err)
		}
		data += string(c.Data)
		if len(c.Data) == 0 {
			return data, c
		}
		cursor = &c.Next
	}
}

func TestReadSinceDrainsNothingAndCountsDrops(t *testing.T) {
	w := newWorld(t)
	const ring = 4096
	p, id := w.attached("echo one; read x; yes 123456789 | head -c 100000; read x; echo err >&2", open,
		func(r *Request) { r.LogRingBytes = ptr(uint32(ring)) })
	o := p.o
	w.until("the first line", func() bool { return o.child.Written()[0] == 4 })
	first, err := o.readSince(Stdout, nil, 2)
	if err != nil || string(first.Data) != "on" || first.Dropped != 0 || first.DrainedEOF {
		t.Errorf("first: %+v, %v", first, err)
	}
	if again, err := o.readSince(Stdout, nil, 100); err != nil || string(again.Data) != "one\n" {
		t.Errorf("again: %+v, %v", again, err)
	}
	if none, err := o.readSince(Stdout, &first.Next, 0); err != nil || len(none.Data) != 0 || none.Next != first.Next {
		t.Errorf("nothing: %+v, %v", none, err)
	}
	w.writes(p, "\n")
	w.until("the flood", func() bool { return o.child.Written()[0] == 100004 })
	late, err := o.readSince(Stdout, &first.Next, 1<<31)
	if err != nil || late.Dropped != 100004-ring-2 || len(late.Data) != ring || late.DrainedEOF {
		t.Errorf("late: %d bytes, %d dropped, %v", len(late.Data), late.Dropped, err)
	}
	for what, cursor := range map[string]string{"garbage": "no cursor", "nothing": "", "another stream's": o.cursors(Stderr).token(0), "one ahead": o.cursors(Stdout).token(1 << 40)} {
		if _, err := o.readSince(Stdout, &cursor, 1); CodeOf(err) != NoSuchProcess {
			t.Errorf("%s: %v", what, err)
		}
	}
	other, _ := w.attached(stays)
	if _, err := other.o.readSince(Stdout, &first.Next, 1); CodeOf(err) != NoSuchProcess {
		t.Errorf("another process's cursor: %v", err)
	}
	w.writes(p, "\n")
	bound := 20 * time.Second
	if _, err := p.Wait(t.Context(), alice, &bound); err != nil {
		t.Fatal(err)
	}
	check := func(o *owner, when string) {
		if _, last := w.since(o, Stdout, &late.Next); !last.DrainedEOF || len(last.Data) != 0 {
			t.Errorf("%s: behind the end %+v", when, last)
		}
		if text, last := w.since(o, Stderr, nil); !last.DrainedEOF || text != "err\n" {
			t.Errorf("%s: stderr %q, %+v", when, text, last)
		}
		if c, err := o.readSince(Stdout, &first.Next, 10); err != nil || c.DrainedEOF || c.Dropped != 100004-ring-2 {
			t.Errorf("%s: from the start %+v, %v", when, c, err)
		}
	}
	check(o, "after the exit")
	i, err := w.host.ProcessStatus(t.Context(), alice, id)
	if err != nil || i.Buffered != ring+4 || i.Dropped != 100004-ring {
		t.Errorf("status: %+v, %v", i, err)
	}
	w.abandon()
	w.open()
	o = w.kept(alice, id)
	check(o, "after a restart")
	if logs, err := w.host.ReadProcessLogs(t.Context(), alice, id); err != nil || len(logs.Stdout) != ring || string(logs.Stderr) != "err\n" || logs.Running {
		t.Errorf("drained after a restart: %d, %q, %v", len(logs.Stdout), logs.Stderr, err)
	}
	check(o, "after a drain")
}

func (w *world) writes(p *Process, text string) {
	w.t.Helper()
	if _, err := p.WriteStdin(w.t.Context(), alice, []byte(text)); err != nil {
		w.t.Fatal(err)
	}
}

// A program under backpressure waits for its readers, also over a restart, and
// nothing is lost.
func TestBackpressureLosesNothing(t *testing.T) {
	w := newWorld(t)
	const total = 3 << 20
	script := fmt.Sprintf("head -c %d /dev/urandom | tee >(sha256sum >&2)", total)
	_, id := w.attached("bash -c '"+script+"'", func(r *Request) {
		r.Overflow, r.LogRingBytes = ptr(Backpressure), ptr(uint32(64<<10))
	})
	o := w.kept(alice, id)
	w.until("the ring is full", func() bool { n, _ := o.child.Buffered(); return n >= 64<<10 })
	w.abandon()
	w.open()
	sum, got, stderr := sha256.New(), 0, ""
	for {
		logs, err := w.host.ReadProcessLogs(t.Context(), alice, id)
		if err != nil {
			t.Fatal(err)
		}
		sum.Write(logs.Stdout)
		got, stderr = got+len(logs.Stdout), stderr+string(logs.Stderr)
		if !logs.Running {
			break
		}
		if _, err := poll.Wait(t.Context(), w.kept(alice, id).logsReady()); err != nil {
			t.Fatal(err)
		}
	}
	if got != total || !strings.HasPrefix(stderr, fmt.Sprintf("%x", sum.Sum(nil))) {
		t.Errorf("%d bytes with sum %x; the program says %s", got, sum.Sum(nil), stderr)
	}
	for _, e := range w.events(1) {
		if b, ok := e.Body.(*event.ProcessExited); ok && (b.Stdout.Bytes != total || b.Stdout.Dropped != 0 || !bytes.Equal(b.Stdout.SHA256, sum.Sum(nil))) {
			t.Errorf("recorded %+v", b.Stdout)
		}
	}
}

// Whoever waits with output gets all that is left at the exit, however many
// others drain.
func TestWaitWithOutputIsAtomic(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		gate := t.TempDir()
		p, r := w.start(alice, "echo early; while [ ! -e '"+gate+"/go' ]; do sleep 0.01; done; echo late; echo err >&2; exit 3")
		w.began(r)
		early := ""
		w.until("the first line", func() bool {
			logs, err := p.ReadLogs(t.Context(), alice)
			early += string(logs.Stdout)
			return err != nil || early == "early\n"
		})
		others := make(chan string)
		go func() { // drains as soon as the exit is there
			all, exited := "", exitSource{p.o}
			for !exited.Ready() {
				runtime.Gosched()
			}
			for range 100 {
				logs, _ := p.ReadLogs(context.Background(), alice)
				all += string(logs.Stdout) + string(logs.Stderr)
			}
			others <- all
		}()
		touch(t, gate+"/go")
		got, err := p.WaitWithOutput(t.Context(), alice, nil)
		if err != nil || exitText(&got.Exit) != "code 3" || string(got.Stdout) != "late\n" || string(got.Stderr) != "err\n" {
			t.Errorf("%+v, %v", got, err)
		}
		if all := <-others; all != "" {
			t.Errorf("another drain got %q", all)
		}
		if err := p.Drop(t.Context(), alice); err != nil {
			t.Error(err)
		}
	}
}

func TestSubscriptionsAreReadyWhenTheyShould(t *testing.T) {
	w := newWorld(t)
	gate := t.TempDir()
	p, _ := w.start(alice, "printf 'a\\342'; while [ ! -e '"+gate+"/go' ]; do sleep 0.01; done; printf '\\202\\254'; exec >&- 2>&-; while [ ! -e '"+gate+"/end' ]; do sleep 0.01; done")
	exit, err := p.SubscribeExit(alice)
	if err != nil {
		t.Fatal(err)
	}
	logs, err := p.SubscribeLogs(alice)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.SubscribeLogs(bob); CodeOf(err) != CapabilityDenied {
		t.Errorf("a stranger subscribes: %v", err)
	}
	ready := func(want ...int) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if got, err := poll.Wait(ctx, exit, logs); fmt.Sprint(got) != fmt.Sprint(want) || err != nil {
			t.Errorf("ready: %v, %v; want %v", got, err, want)
		}
	}
	quiet := func(when string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		if got, err := poll.Wait(ctx, exit, logs); err == nil {
			t.Errorf("%s: ready %v", when, got)
		}
	}
	drains := func(want string) {
		t.Helper()
		if l, err := p.ReadLogs(t.Context(), alice); err != nil || string(l.Stdout) != want {
			t.Errorf("drained %q, %v; want %q", l.Stdout, err, want)
		}
	}
	ready(1)
	w.until("both bytes are there", func() bool { return p.o.child.Written()[0] == 2 })
	ready(1)
	drains("a")
	quiet("half a rune")
	touch(t, gate+"/go")
	ready(1)
	w.until("the rune is whole", func() bool { return p.o.child.Written()[0] == 4 })
	drains("€")
	quiet("the streams have ended, and the program has not")
	touch(t, gate+"/end")
	ready(0, 1)
	ready(0, 1)
	if _, err := p.ReadLogs(t.Context(), alice); err != nil {
		t.Error(err)
	}
	ready(0, 1)
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A daemon that died between stdin.closed and closing leaves it to the next.
func TestAnInputThatIsRecordedAsClosedIsClosed(t *testing.T) {
	w := newWorld(t)
	p, id := w.attached("cat; echo end", open)
	w.writes(p, "all ")
	scope := p.o.scope
	w.record(scope, &event.StdinClosed{Reason: "guest", Bytes: 4})
	w.abandon()
	w.open()
	if r := w.withOutput(w.attach(id)); string(r.Stdout) != "all end\n" {
		t.Errorf("the program read %q", r.Stdout)
	}
	if got := w.inputs(); len(got) != 2 || got[1] != "guest after 4 by host" {
		t.Errorf("recorded %q", got)
	}
}

// An input that breaks while the ledger cannot commit takes no more, its writer
// is answered, and it is recorded and closed as soon as that is possible.
func TestAnInputThatBreaksInAnOutage(t *testing.T) {
	w := newWorld(t)
	p, _ := w.attached("while [ ! -e go ]; do sleep 0.01; done; cat | wc -c", open)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := p.WriteStdin(ctx, alice, make([]byte, MaxWriteBytes)); done <- err }()
	w.until("the pipe is full", func() bool { return p.o.child.StdinWritten() > 0 })
	repair := brokenDisk(t)
	w.failedCommit()
	cancel()
	if err := within(t, 5*time.Second, "the writer is answered", done); CodeOf(err) != Cancelled {
		t.Errorf("%v, want cancelled", err)
	}
	if _, err := p.WriteStdin(t.Context(), alice, []byte("x")); CodeOf(err) != Closed {
		t.Errorf("write behind it: %v", err)
	}
	repair()
	w.until("it is recorded", func() bool { return !w.hasFailed() && len(w.inputs()) == 1 })
	touch(t, filepath.Join(w.data, "workspaces", "alice", "builder", "go"))
	if r := w.withOutput(p); strings.TrimSpace(string(r.Stdout)) != fmt.Sprint(p.o.child.StdinWritten()) {
		t.Errorf("the program read %q", r.Stdout)
	}
}

// What the program did to its input while no daemon was there is recorded by the
// next.
func TestAnInputThatBrokeWithoutADaemon(t *testing.T) {
	w := newWorld(t)
	_, id := w.attached("while [ ! -e go ]; do sleep 0.01; done; exec 0<&-; touch shut; "+stays, open,
		func(r *Request) { r.Stdin, r.HasStdin = make([]byte, MaxWriteBytes), true })
	w.abandon()
	dir := filepath.Join(w.data, "workspaces", "alice", "builder")
	touch(t, filepath.Join(dir, "go"))
	w.until("it has shut its input", func() bool { _, err := os.Stat(filepath.Join(dir, "shut")); return err == nil })
	w.open()
	w.until("that is recorded", func() bool { return len(w.inputs()) == 1 })
	if got := w.inputs()[0]; got != "broken after 0 by host" {
		t.Errorf("recorded %q", got)
	}
	if i, err := w.host.ProcessStatus(t.Context(), alice, id); err != nil || i.StdinOpen {
		t.Errorf("status: %+v, %v", i, err)
	}
}
