package bind

import (
	"fmt"
	"testing"

	"github.com/astrid-os/processledger/host"
)

// earlyWorld is a guest of the 0.7 era, with a process.
func earlyWorld(t *testing.T, f *fake) (w *world, spawn []uint64, h uint64) {
	t.Helper()
	w = newWorldOn(t, f, fullOf(request07), newRuntime(t), process07, ioPoll)
	spawn = w.flat(request07, retAt)
	w.call("spawn-background", spawn...)
	w.fine("spawn-background")
	return w, spawn, uint64(w.word(retAt + 4))
}

// TestErrorsOfThe07Era: what came later is unknown there, with its name as the
// text.
func TestErrorsOfThe07Era(t *testing.T) {
	f := &fake{}
	w, spawn, h := earlyWorld(t, f)
	calls := map[string][]uint64{
		"spawn": spawn, "spawn-background": spawn, ".read-logs": {h, retAt}, ".kill": {h, retAt}, ".os-pid": {h, retAt},
		".wait": {h, 1, 5, retAt}, ".wait-with-output": {h, 1, 5, retAt}, ".write-stdin": {h, 0, 0, retAt}, ".close-stdin": {h, retAt}, ".signal": {h, 0, retAt},
	}
	for code := host.CapabilityDenied; code <= host.Unknown; code++ {
		f.err = fmt.Errorf("wrapped: %w", &host.Error{Code: code, Detail: "why"})
		want, text := int(code), ""
		switch {
		case code == host.Unknown:
			want, text = 8, "why"
		case code >= host.NoSuchProcess:
			want, text = 8, code.String()
		}
		for name, args := range calls {
			w.call(name, args...)
			w.failed(fmt.Sprintf("%s with %v", name, code), 4, want)
			if want == 8 && w.text(retAt+8) != text {
				t.Errorf("%s with %v: text %q, want %q", name, code, w.text(retAt+8), text)
			}
		}
	}
}

func TestSignalsOfThe07Era(t *testing.T) {
	f := &fake{}
	w, _, h := earlyWorld(t, f)
	w.call(".signal", h, uint64(host.SigInt), retAt)
	if w.fine("signal"); f.signal != host.SigInt {
		t.Errorf("signal %v", f.signal)
	}
	if err := w.try(".signal", h, uint64(host.SigStop), retAt); err == nil {
		t.Error("a signal that came later did not trap")
	}
}

// TestPollablesOfThe07Era are those of the one io/poll that there is.
func TestPollablesOfThe07Era(t *testing.T) {
	f := &fake{}
	w, _, h := earlyWorld(t, f)
	p := w.one(".subscribe-exit", h)
	if w.one(".ready", p) != 0 {
		t.Error("ready from the start")
	}
	if f.over.raise(); w.one(".ready", p) != 1 {
		t.Error("not ready after the exit")
	}
	if w.call("~process-handle", h); f.dropped != 1 {
		t.Error("the handle was not dropped")
	}
}
