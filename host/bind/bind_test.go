package bind

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/astrid-os/processledger/host"
	. "github.com/astrid-os/processledger/host/abi/abitest"
	"github.com/astrid-os/processledger/ledger/event"
)

func TestSpawnLiftsNothing(t *testing.T) {
	im := &Image{Base: reqAt}
	im.Alloc(176, 8)
	w := newWorld(t, &fake{result: &host.Result{}}, im)
	w.call("spawn", 0xdead_beef_0000_0000|reqAt, 0xffff_ffff_0000_0000|retAt)
	if d := cmp.Diff(host.Request{}, w.f.got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("request (-want +got):\n%s", d)
	}
}

func TestResultsAreLowered(t *testing.T) {
	f := &fake{
		result: &host.Result{Stdout: []byte("out\xe2\x82!"), Stderr: []byte("err"), Exit: event.Exit{Code: ptr[int32](-2)}},
		logs:   host.Logs{Stdout: []byte("o"), Running: true},
		exit:   event.Exit{Signal: ptr[int32](9)},
		killed: host.KillResult{Killed: true, Exit: &event.Exit{Signal: ptr[int32](9)}, Stderr: []byte("last words")},
	}
	w := newWorld(t, f, full())
	w.call("spawn", reqAt, retAt)
	if w.byte(retAt) != 0 || w.text(retAt+4) != "out\uFFFD!" || w.text(retAt+12) != "err" ||
		w.byte(retAt+20) != 1 || int32(w.word(retAt+24)) != -2 || w.byte(retAt+28) != 0 {
		t.Error("spawn's result is not what the host answered")
	}
	w.call("spawn-background", reqAt, retAt)
	h := uint64(w.word(retAt + 4))
	if w.byte(retAt) != 0 || h == 0 {
		t.Fatalf("spawn-background: tag %d, handle %d", w.byte(retAt), h)
	}
	w.call(".read-logs", h, retAt)
	if w.byte(retAt) != 0 || w.text(retAt+4) != "o" || w.text(retAt+12) != "" || w.byte(retAt+20) != 1 || w.byte(retAt+24) != 0 {
		t.Error("read-logs' result is not what the host answered")
	}
	w.call(".wait", h, 1, 1500, retAt)
	if w.byte(retAt) != 0 || w.byte(retAt+4) != 0 || w.byte(retAt+12) != 1 || w.word(retAt+16) != 9 || *f.timeout != 1500*time.Millisecond {
		t.Error("wait's result is not what the host answered")
	}
	w.call(".kill", h, retAt)
	if w.byte(retAt) != 0 || w.byte(retAt+4) != 1 || w.byte(retAt+8) != 1 || w.word(retAt+24) != 9 || w.text(retAt+36) != "last words" {
		t.Error("kill's result is not what the host answered")
	}
	w.call(".os-pid", h, retAt)
	if w.byte(retAt) != 0 || w.word(retAt+4) != 4711 {
		t.Error("os-pid's result is not what the host answered")
	}
	w.call(".signal", h, uint64(host.SigStop), retAt)
	if w.byte(retAt) != 0 || f.signal != host.SigStop {
		t.Error("signal did not arrive")
	}
	if w.call("~process-handle", h); f.dropped != 1 {
		t.Error("the handle was not dropped")
	}
	if err := w.try(".os-pid", h, retAt); err == nil || !strings.Contains(err.Error(), "[method]process-handle.os-pid: 1 is no handle") {
		t.Errorf("a dropped handle: %v", err)
	}
}

func TestWaitTimeouts(t *testing.T) {
	f := &fake{}
	w := newWorld(t, f, full())
	w.call("spawn-background", reqAt, retAt)
	for _, c := range []struct {
		some, ms uint64
		want     *time.Duration
	}{
		{0, 77, nil},
		{0xffff_ffff_0000_0000, 77, nil}, // garbage in the upper half of a none
		{1, 0, ptr(time.Duration(0))},
		{1, math.MaxUint64, ptr(time.Duration(math.MaxInt64 / 1_000_000 * 1_000_000))},
	} {
		w.call(".wait", 1, c.some, c.ms, retAt)
		if d := cmp.Diff(c.want, f.timeout); d != "" {
			t.Errorf("wait(%d, %d) (-want +got):\n%s", c.some, c.ms, d)
		}
	}
	if err := w.try(".wait", 1, 2, 0, retAt); err == nil {
		t.Error("an option's tag of 2 did not trap")
	}
}

func TestErrorsBecomeCodes(t *testing.T) {
	for _, c := range []struct {
		err    error
		code   host.Code
		detail string
	}{
		{&host.Error{Code: host.CapabilityDenied, Detail: "not for the guest"}, host.CapabilityDenied, ""},
		{&host.Error{Code: host.Quota}, host.Quota, ""},
		{fmt.Errorf("wrapped: %w", &host.Error{Code: host.PersistUnsupported}), host.PersistUnsupported, ""},
		{&host.Error{Code: host.Unknown, Detail: "no such program\xff"}, host.Unknown, "no such program\uFFFD"},
		{&host.Error{Code: 200, Detail: "from the future"}, host.Unknown, "from the future"},
		{context.Canceled, host.Cancelled, ""},
		{errors.New("secret of the daemon"), host.Unknown, "the host failed; its log says why"},
	} {
		w := newWorld(t, &fake{err: c.err}, full())
		w.call("spawn", reqAt, retAt)
		if w.byte(retAt) != 1 || host.Code(w.byte(retAt+4)) != c.code || (c.code == host.Unknown && w.text(retAt+8) != c.detail) {
			t.Errorf("%v: tag %d, code %d, detail %q", c.err, w.byte(retAt), w.byte(retAt+4), w.text(retAt+8))
		}
	}
}

// TestSoftCancel: what blocks on a process returns cancelled, and a cancelled
// guest can still clean up.
func TestSoftCancel(t *testing.T) {
	f := &fake{killed: host.KillResult{Killed: true}}
	w := newWorld(t, f, full())
	w.call("spawn-background", reqAt, retAt)
	f.block = true
	time.AfterFunc(20*time.Millisecond, w.stop)
	w.call(".wait", 1, 0, 0, retAt)
	if w.byte(retAt) != 1 || host.Code(w.byte(retAt+4)) != host.Cancelled {
		t.Errorf("wait: tag %d, code %d, want cancelled", w.byte(retAt), w.byte(retAt+4))
	}
	w.call("spawn", reqAt, retAt)
	if host.Code(w.byte(retAt+4)) != host.Cancelled {
		t.Errorf("spawn after the cancel: code %d, want cancelled", w.byte(retAt+4))
	}
	if w.call(".kill", 1, retAt); w.byte(retAt) != 0 || w.byte(retAt+4) != 1 {
		t.Error("kill after the cancel did not work")
	}
	if w.call("~process-handle", 1); f.dropped != 1 {
		t.Error("drop after the cancel did not work")
	}
}

func TestNoInvocationNoCall(t *testing.T) {
	w := newWorld(t, &fake{}, full())
	w.in.End()
	if err := w.try("spawn", reqAt, retAt); err == nil || !strings.Contains(err.Error(), "outside of an invocation") {
		t.Errorf("error %v", err)
	}
}

// TestHostPanicIsTheOperators: a fault of the host's own ends the guest's call
// and is logged as what it is.
func TestHostPanicIsTheOperators(t *testing.T) {
	w := newWorld(t, &fake{panics: true}, full())
	if err := w.try("spawn", reqAt, retAt); err == nil {
		t.Error("no error")
	}
	if !strings.Contains(w.log.String(), "a served function panicked") || !strings.Contains(w.log.String(), "a fault of the host's own") {
		t.Errorf("log %s", w.log)
	}
}
