//go:build linux

package shim

import (
	"crypto/sha256"
	"hash"
	"os"
)

// pump carries one output stream of the program into its ring, and counts and
// digests every byte, also those that the ring will drop.
type pump struct {
	from *os.File
	ring *ringWriter
	sum  hash.Hash
	n    uint64
	lost uint64 // bytes that the ring file did not take

	// done is closed when the stream has ended; only then may others read
	// the fields above.
	done chan struct{}
}

func startPump(from *os.File, ring *ringWriter) *pump {
	p := &pump{from: from, ring: ring, sum: sha256.New(), done: make(chan struct{})}
	go p.run()
	return p
}

// run ends at the end of the stream, when every holder of the pipe's other end
// has closed it, or when cut closes this end.
func (p *pump) run() {
	defer close(p.done)
	buf := make([]byte, maxChunk) // its pages come into being as output fills them
	for {
		n, err := p.from.Read(buf)
		if n > 0 {
			p.take(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

func (p *pump) take(b []byte) {
	p.n += uint64(len(b))
	p.sum.Write(b)
	if p.ring.write(b) != nil {
		p.lost += uint64(len(b))
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
	return Stream{Bytes: p.n, SHA256: p.sum.Sum(nil), Dropped: p.ring.dropped() + p.lost}
}
