package host

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host/poll"
	"github.com/astrid-os/processledger/ledger/event"
)

// TestOperatorStopsAPersistentProcess: it ends as by its creator's stop, its id
// is gone, and the ledger says who it was.
func TestOperatorStopsAPersistentProcess(t *testing.T) {
	w := newWorld(t)
	id, r := w.keep(alice, "trap 'exit 3' TERM; "+stays)
	w.began(r)
	handle, seq := w.kept(alice, id).id, w.live.Snapshot().Seq()
	got, err := w.host.StopHandle(t.Context(), operator, handle, nil)
	if err != nil || exitText(got.Exit) != "code 3" || got.Cause != "stop" || !got.Released {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := w.host.ProcessStatus(t.Context(), alice, id); CodeOf(err) != NoSuchProcess {
		t.Errorf("its id is not gone: %v", err)
	}
	var stop *event.Event
	for _, e := range w.events(seq + 1) {
		if e.Kind() == event.KindStopRequested {
			stop = e
		}
	}
	if stop == nil || stop.Actor != operator || stop.Handle != handle || stop.Principal != "alice" {
		t.Errorf("recorded as %+v", stop)
	}
	if _, err := w.host.StopHandle(t.Context(), operator, handle, nil); CodeOf(err) != NoSuchProcess {
		t.Errorf("a second time: %v", err)
	}
}

// TestOperatorStopsWhatIgnoresTERM, and what its holder still holds: KILL after
// the grace, and the handle stays with who has it.
func TestOperatorStopsWhatIgnoresTERM(t *testing.T) {
	w := newWorld(t)
	p, r := w.start(alice, "trap '' TERM; "+stays)
	w.began(r)
	grace := 20 * time.Millisecond
	got, err := w.host.StopHandle(t.Context(), operator, p.o.id, &grace)
	if err != nil || exitText(got.Exit) != "signal 9" || got.Cause != "stop" || got.Released {
		t.Errorf("%+v, %v", got, err)
	}
	exit, err := p.Wait(t.Context(), alice, nil)
	if err != nil || exitText(&exit) != "signal 9" {
		t.Errorf("its holder sees %s, %v", exitText(&exit), err)
	}
	again, err := w.host.StopHandle(t.Context(), operator, p.o.id, nil)
	if err != nil || exitText(again.Exit) != "signal 9" || again.Released {
		t.Errorf("of what has ended: %+v, %v", again, err)
	}
	if err := p.Drop(t.Context(), alice); err != nil {
		t.Error(err)
	}
}

// TestOperatorLeavesAStop: who asked may leave; the stop goes on.
func TestOperatorLeavesAStop(t *testing.T) {
	w := newWorld(t)
	id, r := w.keep(alice, "trap '' TERM; "+stays)
	w.began(r)
	o := w.kept(alice, id)
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan error, 1)
	grace := 200 * time.Millisecond
	go func() {
		_, err := w.host.StopHandle(ctx, operator, o.id, &grace)
		asked <- err
	}()
	w.until("the stop is recorded", func() bool {
		h, ok := w.live.Snapshot().Handle(o.id)
		return ok && len(h.Obligations) > 0
	})
	cancel()
	if err := <-asked; CodeOf(err) != Cancelled {
		t.Errorf("%v, want cancelled", err)
	}
	w.until("it is released", func() bool { _, held := w.live.Snapshot().Handle(o.id); return !held })
}

// TestOperatorStopSurvivesARestart: the stop of a daemon that died goes on, and
// releases.
func TestOperatorStopSurvivesARestart(t *testing.T) {
	w := newWorld(t)
	id, r := w.keep(alice, stays)
	w.began(r)
	o := w.kept(alice, id)
	scope := o.scope
	scope.Actor = operator
	w.append(&event.Event{Scope: scope, Body: &event.StopRequested{GraceNano: 1e6, Reason: "operator"}})
	w.abandon()
	w.open()
	w.until("it is released", func() bool { _, held := w.live.Snapshot().Handle(o.id); return !held })
}

// TestOperatorReadsWithoutTaking: an operator follows the output, both streams
// to their end, and the capsule gets all of it as well; a position that is not
// there is refused.
func TestOperatorReadsWithoutTaking(t *testing.T) {
	w := newWorld(t)
	p, _ := w.start(alice, `echo one; echo two >&2; until test -e "$WITNESS/more"; do sleep 0.02; done; echo three`)
	out, err := w.host.OutputOf(t.Context(), p.o.id)
	if err != nil {
		t.Fatal(err)
	}
	var text [2]string
	var at [2]uint64
	var eof [2]bool
	for !eof[0] || !eof[1] {
		if _, err := poll.Wait(t.Context(), out.More(at[0], at[1])); err != nil {
			t.Fatal(err)
		}
		for s := range at {
			piece, err := out.Read(Stream(s), at[s], 2)
			if err != nil || piece.From != at[s] {
				t.Fatalf("%+v at %d, %v", piece, at[s], err)
			}
			text[s] += string(piece.Data)
			at[s], eof[s] = at[s]+uint64(len(piece.Data)), piece.EOF
		}
		if text == [2]string{"one\n", "two\n"} {
			if err := os.WriteFile(filepath.Join(w.witness, "more"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if text != [2]string{"one\nthree\n", "two\n"} {
		t.Errorf("read %q", text)
	}
	if _, err := out.Read(Stdout, at[0]+1, 9); CodeOf(err) != InvalidInput {
		t.Errorf("beyond the end: %v", err)
	}
	r, err := p.WaitWithOutput(t.Context(), alice, nil)
	if err != nil || string(r.Stdout) != "one\nthree\n" || string(r.Stderr) != "two\n" {
		t.Errorf("the capsule got %+v, %v", r, err)
	}
	if err := p.Drop(t.Context(), alice); err != nil {
		t.Error(err)
	}
	w.until("it is released", func() bool { _, held := w.live.Snapshot().Handle(p.o.id); return !held })
	if piece, err := out.Read(Stdout, 4, 99); err != nil || string(piece.Data) != "three\n" || !piece.EOF {
		t.Errorf("after the release: %+v, %v", piece, err)
	}
	out.Close()
	if _, err := out.Read(Stdout, 0, 9); CodeOf(err) != Unknown {
		t.Errorf("after Close: %v", err)
	}
	if _, err := w.host.OutputOf(t.Context(), p.o.id); CodeOf(err) != NoSuchProcess {
		t.Errorf("after the release: %v", err)
	}
}

func TestIdleIsCountedSinceTheLastUse(t *testing.T) {
	w := newWorld(t)
	id, r := w.keep(alice, stays)
	w.began(r)
	handle := w.kept(alice, id).id
	first := time.Now()
	if _, err := w.host.ProcessStatus(t.Context(), alice, id); err != nil {
		t.Fatal(err)
	}
	w.until("it is idle", func() bool { return w.host.Idle()[handle] >= 20*time.Millisecond })
	if idle := w.host.Idle(); len(idle) != 1 || idle[handle] > time.Since(first) {
		t.Errorf("%v, at most %v", idle, time.Since(first))
	}
	if _, err := w.host.StopHandle(t.Context(), operator, handle, nil); err != nil {
		t.Fatal(err)
	}
	if idle := w.host.Idle(); len(idle) != 0 {
		t.Errorf("after its end: %v", idle)
	}
	if _, err := w.host.StopHandle(t.Context(), operator, ulid.ULID{}, nil); CodeOf(err) != NoSuchProcess {
		t.Errorf("no handle: %v", err)
	}
}
