package daemon

import (
	"os"
	"strconv"
	"strings"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// watched is what is asked of the kernel about one handle.
type watched struct {
	id            string
	shim, program event.Identity
	killed        bool // KILL was sent for one of its endings
}

// Trouble implements serve.Backend. It asks the kernel and nobody else: a shim
// that does not answer cannot be asked whether it does. It reads a file or two
// for each live process, a few tens of microseconds.
func (d *Daemon) Trouble() map[string]control.Trouble {
	live := d.live.Load()
	if live == nil {
		return nil
	}
	var list []watched
	live.View(func(s *projector.State) {
		for _, h := range s.Handles() {
			if h.Phase == projector.PhaseStarted {
				list = append(list, watched{h.ID.String(), h.Shim, h.Program, wasKilled(h)})
			}
		}
	})
	found := map[string]control.Trouble{}
	for _, w := range list {
		if trouble := troubleOf(w); trouble != "" {
			found[w.id] = trouble
		}
	}
	return found
}

// wasKilled tells whether a KILL was sent to end the process.
func wasKilled(h *projector.Handle) bool {
	for _, o := range h.Obligations {
		if o.Kill.Sent.Seq != 0 {
			return true
		}
	}
	return false
}

// troubleOf is what is wrong with a process, empty for nothing.
func troubleOf(w watched) control.Trouble {
	switch stateOf(w.shim) {
	case 'T', 't', 'D': // stopped by a signal or a tracer, or frozen
		return control.TroubleSilent
	}
	if w.killed && stateOf(w.program) != 0 {
		return control.TroubleDying
	}
	return ""
}

// stateOf is the state of a process as in /proc/PID/stat: 0 if it is gone, a
// zombie, or another process of that number.
func stateOf(i event.Identity) byte {
	if i.PID == 0 {
		return 0
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(int(i.PID)) + "/stat")
	if err != nil {
		return 0
	}
	text := string(b)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:]) // from the third on
	const state, started = 0, 22 - 3
	if len(fields) <= started || fields[state] == "Z" || fields[state] == "X" {
		return 0
	}
	if ticks, err := strconv.ParseUint(fields[started], 10, 64); err != nil || i.StartTicks != 0 && ticks != i.StartTicks {
		return 0
	}
	return fields[state][0]
}
