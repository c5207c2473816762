package projector

import (
	"bytes"
	"runtime"
	"strconv"
	"sync/atomic"
)

// guard turns a call into Live from inside a closure into a panic. Decide
// would wait there for itself for ever; View and Snapshot would show a state
// that the decision is not taken on.
type guard struct {
	running   atomic.Bool
	goroutine atomic.Uint64 // that runs closures; 0: not known yet
}

// enter marks that a closure runs, in this goroutine.
func (g *guard) enter() {
	if g.goroutine.Load() == 0 {
		g.goroutine.Store(goroutineID())
	}
	g.running.Store(true)
}

func (g *guard) leave() { g.running.Store(false) }

// forget is for when another goroutine may run closures from now on.
func (g *guard) forget() { g.goroutine.Store(0) }

// forbid panics if it is called by a closure. Outside of closures it costs a
// load, while one runs elsewhere about a microsecond.
func (g *guard) forbid(method string) {
	if g.running.Load() && g.goroutine.Load() == goroutineID() {
		panic("projector: a decision must not call Live." + method)
	}
}

// goroutineID reads the number in "goroutine 17 [running]:". The runtime gives
// it in no other way.
func goroutineID() uint64 {
	var buf [64]byte
	b := buf[:runtime.Stack(buf[:], false)]
	b = bytes.TrimPrefix(b, []byte("goroutine "))
	if i := bytes.IndexByte(b, ' '); i > 0 {
		b = b[:i]
	}
	n, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
