package mem

import (
	"runtime"
	"sync"
)

// Inside tells whether there is a host to call.
const Inside = true

// turn is held while the host runs: during each call of it, and from the end
// of one export to the beginning of the next. Whoever holds it is the host as
// far as the other goroutines can tell.
//
// While the host runs it calls cabi_realloc in here, and the runtime may let
// any goroutine run then. One that called the host would do so out of
// cabi_realloc, which traps; and an export that returned would return into the
// middle of cabi_realloc. Both wait for their turn instead.
var turn sync.Mutex

// away tells that the host has the turn because an export has returned.
var away bool

// A goroutine that does nothing but call the host would let no other run, since
// nothing in WebAssembly preempts it. Every yieldEach calls it steps back.
const yieldEach = 64

var calls uint

// Enter calls the host.
func Enter(raw func()) {
	turn.Lock()
	calls++
	yield := calls%yieldEach == 0
	raw()
	turn.Unlock()
	if yield {
		runtime.Gosched()
	}
}

// Arrive is the first act of an export: the guest has the turn now.
func Arrive() {
	if away {
		away = false
		turn.Unlock()
	}
}

// Leave is the last act of an export. It waits until no goroutine is in the
// middle of a call of the host.
func Leave() {
	turn.Lock()
	away = true
}
