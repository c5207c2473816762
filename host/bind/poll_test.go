package bind

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/astrid-os/processledger/host"
)

const (
	pollInvalid, pollClosed, pollTooLarge, pollCancelled = 0, 1, 2, 3

	listAt = 1 << 17 // where lists of pollables stand
)

// poll calls poll and returns what it answered.
func (w *world) poll(pollables ...uint64) []uint32 {
	w.t.Helper()
	for i, p := range pollables {
		w.mod.Memory().WriteUint32Le(listAt+uint32(4*i), uint32(p))
	}
	w.call("poll", listAt, uint64(len(pollables)), retAt)
	if w.byte(retAt) != 0 {
		return nil
	}
	b, _ := w.mod.Memory().Read(w.word(retAt+4), 4*w.word(retAt+8))
	out := make([]uint32, len(b)/4)
	for i := range out {
		out[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return out
}

func TestPollablesAreReadyWhenTheirSourceIs(t *testing.T) {
	f := &fake{}
	w := newWorld(t, f, full())
	h := w.background()
	over, output := w.one(".subscribe-exit", h), w.one(".subscribe-logs", h)
	if w.one(".ready", over) != 0 || w.one(".ready", output) != 0 {
		t.Error("ready from the start")
	}
	f.output.raise()
	if w.one(".ready", over) != 0 || w.one(".ready", output) != 1 {
		t.Error("output made another one ready")
	}
	w.call(".block", output, retAt)
	w.fine("block")
	if got := w.poll(over, output, output); !slices.Equal(got, []uint32{1, 2}) {
		t.Errorf("poll: %v", got)
	}
	f.over.raise()
	if got := w.poll(over, output); !slices.Equal(got, []uint32{0, 1}) {
		t.Errorf("poll: %v", got)
	}
	f.output.set.Store(false)
	if got := w.poll(over, output); !slices.Equal(got, []uint32{0}) {
		t.Errorf("poll of what is ready no longer: %v", got)
	}
}

// TestPollBlocksUntilOneIsReady, and stops watching then.
func TestPollBlocksUntilOneIsReady(t *testing.T) {
	f := &fake{}
	w := newWorld(t, f, full())
	h := w.background()
	over, output := w.one(".subscribe-exit", h), w.one(".subscribe-logs", h)
	go func() {
		for !f.over.Watched() || !f.output.Watched() {
			time.Sleep(time.Millisecond)
		}
		f.over.raise()
	}()
	if got := w.poll(output, over); !slices.Equal(got, []uint32{1}) {
		t.Errorf("poll: %v", got)
	}
	if f.over.Watched() || f.output.Watched() {
		t.Error("it still watches")
	}
}

func TestPollRefuses(t *testing.T) {
	w := newWorld(t, &fake{}, full())
	p := w.one(".subscribe-exit", w.background())
	w.f.over.raise()
	w.call("poll", listAt, 0, retAt)
	w.failed("poll of nothing", 4, pollInvalid)
	if got := w.poll(slices.Repeat([]uint64{p}, 256)...); len(got) != 256 || got[255] != 255 {
		t.Errorf("256 pollables: %d are ready", len(got))
	}
	w.call("poll", listAt, 257, retAt)
	w.failed("poll of 257", 4, pollTooLarge)
	for what, a := range map[string][]uint64{
		"a list outside":    {1 << 24, 300},
		"a misaligned list": {listAt + 2, 1},
		"an unknown handle": {listAt + 4096, 1},
	} {
		if err := w.try("poll", append(a, retAt)...); err == nil {
			t.Errorf("%s did not trap", what)
		}
	}
	if err := w.try(".ready", 1); err == nil || !strings.Contains(err.Error(), "handle 1 is a process-handle and not a pollable") {
		t.Errorf("a process as a pollable: %v", err)
	}
}

// TestWaitsOfPollEndWithTheCancel, unless something is ready.
func TestWaitsOfPollEndWithTheCancel(t *testing.T) {
	w := newWorld(t, &fake{}, full())
	p := w.one(".subscribe-exit", w.background())
	time.AfterFunc(20*time.Millisecond, w.stop)
	began := time.Now()
	w.call(".block", p, retAt)
	w.failed("block", 4, pollCancelled)
	w.poll(p)
	w.failed("poll", 4, pollCancelled)
	if d := time.Since(began); d > soon {
		t.Errorf("it took %v", d)
	}
	w.f.over.raise()
	if got := w.poll(p); len(got) != 1 {
		t.Error("what is ready is told after a cancel too")
	}
}

// TestAPollableOutlivesNothing: without its parent it is closed, and says so
// instead of blocking.
func TestAPollableOutlivesNothing(t *testing.T) {
	w := newWorld(t, &fake{}, full())
	h := w.background()
	dropped, kept := w.one(".subscribe-exit", h), w.one(".subscribe-logs", h)
	w.call("~pollable", dropped)
	w.call("~process-handle", h)
	if w.one(".ready", kept) != 1 {
		t.Error("a closed one is not ready: a loop over it would not end")
	}
	w.call(".block", kept, retAt)
	w.failed("block", 4, pollClosed)
	other := w.one(".subscribe-exit", w.background())
	w.f.over.raise()
	w.poll(other, kept)
	w.failed("poll", 4, pollClosed)
	w.call("~pollable", kept)
	if err := w.try(".ready", dropped); err == nil {
		t.Error("a dropped pollable can be used")
	}
	if n := w.in.Handles(); n != 2 {
		t.Errorf("%d handles are held", n)
	}
}

// TestASubscriptionThatFailsIsClosed: there is no error to answer with.
func TestASubscriptionThatFailsIsClosed(t *testing.T) {
	w := newWorld(t, &fake{}, full())
	h := w.background()
	for _, w.f.err = range []error{&host.Error{Code: host.CapabilityDenied}, errors.New("a fault of the host's")} {
		p := w.one(".subscribe-exit", h)
		w.call(".block", p, retAt)
		w.failed("block", 4, pollClosed)
	}
}
