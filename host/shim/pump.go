//go:build linux

package shim

import (
	"crypto/sha256"
	"hash"
	"os"
	"sync/atomic"
)

// pumpMode says how much a pump under backpressure may leave undrained. It only
// goes up.
type pumpMode int32

const (
	pumpRing  pumpMode = iota // the ring: the program runs, and waits for its readers
	pumpSlack                 // the slack too: it has ended, and its last output is to come in
	pumpRest                  // nobody is left to wait: what does not fit is counted and lost
)

// pump carries one output stream of the program into its ring, and counts and
// digests every byte, also those that the ring will drop.
type pump struct {
	from *os.File
	ring *ringWriter
	sum  hash.Hash
	n    uint64

	// pressure has the pump leave the output in the pipe, where the program
	// waits, while the ring is full of what nobody has drained. Without it
	// the oldest is overwritten.
	pressure bool
	mode     atomic.Int32
	again    chan struct{} // capacity 1: there may be room

	// output is poked when a reader had asked to be told.
	output chan<- struct{}

	// done is closed when the stream has ended; only then may others read
	// the counts above.
	done chan struct{}
}

func startPump(from *os.File, ring *ringWriter, pressure bool, output chan<- struct{}) *pump {
	p := &pump{
		from: from, ring: ring, sum: sha256.New(), pressure: pressure,
		again: make(chan struct{}, 1), output: output, done: make(chan struct{}),
	}
	go p.run()
	return p
}

// run ends at the end of the stream, when every holder of the pipe's other end
// has closed it, or when cut closes this end.
func (p *pump) run() {
	defer close(p.done)
	buf := make([]byte, maxChunk) // its pages come into being as output fills them
	for {
		n, err := p.from.Read(buf[:p.awaitRoom()])
		if n > 0 {
			p.take(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

// awaitRoom returns how much to read next. Under backpressure it waits while
// the ring holds as much as it may.
func (p *pump) awaitRoom() int {
	for p.pressure {
		if room := p.room(); room > 0 {
			return room
		}
		if pumpMode(p.mode.Load()) == pumpRest {
			break
		}
		// Marked first and looked at again after: a reader makes room first
		// and looks at the mark after.
		p.ring.markBlocked()
		if p.room() > 0 {
			continue
		}
		<-p.again
	}
	return maxChunk
}

// room is how many bytes the ring takes now without dropping any.
func (p *pump) room() int {
	if pumpMode(p.mode.Load()) == pumpRing {
		return p.ring.room(p.ring.ring)
	}
	return p.ring.room(p.ring.capacity)
}

func (p *pump) take(b []byte) {
	p.n += uint64(len(b))
	p.sum.Write(b)
	kept := b
	if p.pressure {
		kept = b[:min(len(b), p.room())]
	}
	if p.ring.write(kept) {
		p.tell()
	}
	p.ring.lose(uint64(len(b) - len(kept)))
}

// tell has the supervisor tell of output.
func (p *pump) tell() {
	select {
	case p.output <- struct{}{}:
	default: // it will tell anyway
	}
}

// look has a pump that waits for room look again.
func (p *pump) look() {
	select {
	case p.again <- struct{}{}:
	default: // it will look anyway
	}
}

// enter lets the pump go further than before.
func (p *pump) enter(m pumpMode) {
	if pumpMode(p.mode.Load()) < m {
		p.mode.Store(int32(m))
		p.look()
	}
}

// cut ends the stream although somebody outside of the tree still holds its
// other end.
func (p *pump) cut() {
	p.from.Close()
	<-p.done
}

// ended tells whether the stream has ended.
func (p *pump) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// summary must be called after done.
func (p *pump) summary() Stream {
	return Stream{Bytes: p.n, SHA256: p.sum.Sum(nil), Dropped: p.ring.evicted + p.ring.lost}
}
