package host

import (
	"sync"
	"testing"
	"time"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// endedKept makes a persistent process that has ended, as recovery takes one up:
// without ever having run a program, so that races can be run often.
func (w *world) endedKept(change func(*Request)) (id string, o *owner) {
	w.t.Helper()
	r := &Request{Cmd: "sh"}
	change(r)
	p := w.host.plan(alice, r, event.TierPersistent)
	_, err := w.live.Decide(w.t.Context(), func(tip *projector.State, next ledger.Header) ([]*event.Event, error) {
		es, err := p.decide(tip, next)
		return append(es, &event.Event{Scope: p.decidedScope(), Body: &event.ProcessLost{Reason: "may-have-run"}}), err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	handle, _ := w.live.Snapshot().Handle(p.id)
	rec := &recovery{h: w.host, inProcess: true}
	o = rec.take(handle)
	rec.retain(o)
	return o.kept.id, o
}

// both runs two functions at once and waits for both.
func both(one, two func()) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for _, fn := range []func(){one, two} {
		wg.Go(func() {
			<-start
			fn()
		})
	}
	close(start)
	wg.Wait()
}

// TestTwoAttaches races attaches a thousand times: each is recorded, each gives
// a handle, and dropping one leaves the other.
func TestTwoAttaches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, r := w.keep(alice, stays)
	w.began(r)
	for round := range 1000 {
		var one, two *Process
		both(func() { one = w.attach(id) }, func() { two = w.attach(id) })
		dropped := make(chan error, 1)
		both(func() { dropped <- one.Drop(t.Context(), alice) }, func() {
			if _, err := two.OSPid(alice); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		})
		if err := <-dropped; err != nil {
			t.Errorf("round %d: %v", round, err)
		}
	}
	if h, _ := w.live.Snapshot().Handle(w.kept(alice, id).id); h.Attached != 2000 {
		t.Errorf("%d attachments are recorded, want 2000", h.Attached)
	}
}

// TestRetentionAgainstAttach has a retention run out under an attach a thousand
// times: either the attach was first, and its handle says that the process was
// released, or there is no such process. Nothing is attached after its release.
func TestRetentionAgainstAttach(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var attached int
	for round := range 1000 {
		id, o := w.endedKept(func(r *Request) { r.ExitRetentionMS = ptr(uint64(1)) })
		p, err := w.host.Attach(t.Context(), alice, id)
		<-o.gone
		switch {
		case err == nil:
			attached++
			if _, err := p.ReadLogs(t.Context(), alice); CodeOf(err) != Closed {
				t.Fatalf("round %d: a handle of what was released: %v", round, err)
			}
		case CodeOf(err) != NoSuchProcess:
			t.Fatalf("round %d: %v", round, err)
		}
	}
	t.Logf("attached %d of 1000 times", attached)
}

// TestReleaseAgainstStatus races a release with everything that reads, a
// thousand times: what is answered is whole, or there is no such process.
func TestReleaseAgainstStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range 1000 {
		id, o := w.endedKept(func(*Request) {})
		both(func() {
			if err := w.host.ReleaseProcess(t.Context(), alice, id); err != nil {
				t.Errorf("round %d: release: %v", round, err)
			}
		}, func() {
			i, err := w.host.ProcessStatus(t.Context(), alice, id)
			if err != nil && CodeOf(err) != NoSuchProcess || err == nil && (i.Phase != Exited || i.ID != id) {
				t.Errorf("round %d: status %+v, %v", round, i, err)
			}
			if _, err := w.host.ListProcesses(t.Context(), alice, nil); err != nil {
				t.Errorf("round %d: list: %v", round, err)
			}
		})
		<-o.gone
		if got := w.after(id); got != "gone" {
			t.Fatalf("round %d: after the release: %s", round, got)
		}
	}
}

// TestTwoReleases and a stop of the same process: one release is recorded.
func TestTwoReleases(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const rounds = 300
	for round := range rounds {
		id, o := w.endedKept(func(*Request) {})
		both(func() {
			if err := w.host.ReleaseProcess(t.Context(), alice, id); err != nil {
				t.Errorf("round %d: release: %v", round, err)
			}
		}, func() {
			if _, err := w.host.StopProcess(t.Context(), alice, id, nil); CodeOf(err) != NoSuchProcess && CodeOf(err) != Unknown {
				t.Errorf("round %d: stop: %v", round, err)
			}
		})
		<-o.gone
	}
	if n := w.live.Snapshot().Totals().Released; n != rounds {
		t.Errorf("%d releases for %d processes", n, rounds)
	}
}

// TestReleaseAgainstRead races a release with readers of real output: a reader
// gets all of it or is told that there is no such process, never a part.
func TestReleaseAgainstRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range 60 {
		id, _ := w.keep(alice, "echo all of it")
		w.ended(id)
		both(func() {
			if err := w.host.ReleaseProcess(t.Context(), alice, id); err != nil {
				t.Errorf("round %d: release: %v", round, err)
			}
		}, func() {
			if round%2 == 0 {
				logs, err := w.host.ReadProcessLogs(t.Context(), alice, id)
				if err == nil && string(logs.Stdout) != "all of it\n" || err != nil && CodeOf(err) != NoSuchProcess {
					t.Errorf("round %d: %q, %v", round, logs.Stdout, err)
				}
				return
			}
			chunk, err := w.host.ReadSince(t.Context(), alice, id, Stdout, nil, 100)
			if err == nil && (string(chunk.Data) != "all of it\n" || !chunk.DrainedEOF) || err != nil && CodeOf(err) != NoSuchProcess {
				t.Errorf("round %d: %q, %v", round, chunk.Data, err)
			}
		})
	}
}

// TestStopAgainstExit has programs end by themselves while they are stopped: the
// exit is one and the same for all who ask, and the id is gone.
func TestStopAgainstExit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range 60 {
		id, r := w.keep(alice, gated+`; rm "$WITNESS/gate"; exit 5`)
		w.began(r)
		var stopped, waited event.Exit
		var failed, unseen error
		both(func() {
			touch(t, w.witness+"/gate")
			stopped, failed = w.host.StopProcess(t.Context(), alice, id, ptr(10*time.Second))
		}, func() {
			waited, unseen = w.host.WaitProcess(t.Context(), alice, id, time.Minute)
		})
		if failed != nil || unseen != nil && CodeOf(unseen) != NoSuchProcess {
			t.Fatalf("round %d: stop: %v, wait: %v", round, failed, unseen)
		}
		if got := exitText(&stopped); got != "code 5" && got != "signal 15" || unseen == nil && exitText(&waited) != got {
			t.Errorf("round %d: stopped with %s, waited for %s", round, got, exitText(&waited))
		}
		if got := w.after(id); got != "gone" {
			t.Fatalf("round %d: after the stop: %s", round, got)
		}
		w.untouch("gate")
	}
}
