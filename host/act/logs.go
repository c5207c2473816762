//go:build linux

package act

import (
	"sync"
	"time"
	"unicode/utf8"

	"github.com/astrid-os/processledger/host/poll"
	"github.com/astrid-os/processledger/host/shim"
)

// Stream is one of a program's two outputs.
type Stream uint8

// The streams.
const (
	Stdout Stream = 0
	Stderr Stream = 1
)

// takeEnded takes in which streams have ended.
func (c *Child) takeEnded(mask uint32) {
	c.mu.Lock()
	c.streamsEnded[Stdout] = c.streamsEnded[Stdout] || mask&shim.EndedStdout != 0
	c.streamsEnded[Stderr] = c.streamsEnded[Stderr] || mask&shim.EndedStderr != 0
	c.mu.Unlock()
	c.output.Notify()
}

// endedStreams tells which streams have ended. That this end lets go of a program
// is no end of them.
func (c *Child) endedStreams() [2]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streamsEnded
}

// mute tells whether nobody will be told of output any more.
func (c *Child) mute() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended || c.released || c.streamsEnded == [2]bool{true, true}
}

// DrainLogs returns what the program wrote since the last drain: under
// drop-oldest at most the newest RingBytes of each stream, under backpressure
// all of it. While a stream may bring more, a rune that is only half there stays
// for the next drain. It works after the exit, and after a restart of the daemon
// goes on where it had stopped; after Close or Trash it fails. A program that
// waits for room goes on.
func (c *Child) DrainLogs() (stdout, stderr []byte, err error) {
	ended := c.endedStreams() // before the drain: what comes after it is not the end
	c.logMu.Lock()
	defer c.logMu.Unlock()
	if stdout, err = c.drain(Stdout, ended[Stdout]); err != nil {
		return nil, nil, err
	}
	stderr, err = c.drain(Stderr, ended[Stderr])
	return stdout, stderr, err
}

// drain must be called with logMu held.
func (c *Child) drain(s Stream, ended bool) ([]byte, error) {
	r := c.logs[s]
	if r == nil {
		return nil, errClosedChild
	}
	left := 0
	b, _, err := r.Drain(func(b []byte) int {
		if !ended {
			left = partialRune(b)
		}
		return left
	})
	if err != nil {
		return nil, err
	}
	c.kept[s] = 0
	if left > 0 {
		c.kept[s] = r.Drained() + uint64(left)
	}
	c.makeRoom(r)
	return b, nil
}

// makeRoom tells a pump that waits that it may go on. A crash before it leaves a
// pump that waits for nothing: the shim has it look again when the next daemon
// connects.
func (c *Child) makeRoom(r *shim.RingReader) {
	if c.conn == nil || !r.WasBlocked() {
		return
	}
	// A shim has at most one such message for each stream to read, so there is
	// always room for it, unless the shim is gone.
	if c.conn.TrySend(&shim.Message{Type: shim.TypeDrained}) != nil {
		r.StillBlocked()
	}
}

// partialRune returns how many bytes at the end of b may be the beginning of a
// rune whose rest has not been written yet.
func partialRune(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		tail := b[len(b)-n:]
		if utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

// ReadSince returns at most most bytes of a stream from byte number pos on,
// counted from 0, and drains nothing. What is overwritten already is skipped:
// from is the number of the first byte returned, and from-pos are lost to this
// reader. eof is true once the stream has ended and nothing follows what is
// returned. The error is [ErrPosition] if the stream has not come to pos. It does
// not block.
func (c *Child) ReadSince(s Stream, pos uint64, most int) (data []byte, from uint64, eof bool, err error) {
	ended := c.endedStreams()[s] // before the read: an end that is seen has all bytes before it
	c.logMu.Lock()
	defer c.logMu.Unlock()
	return readSince(c.logs[s], pos, most, ended)
}

// readSince reads a stream's ring, nil if it is closed; ended tells whether the
// stream had ended before.
func readSince(r *shim.RingReader, pos uint64, most int, ended bool) (data []byte, from uint64, eof bool, err error) {
	if r == nil {
		return nil, 0, false, errClosedChild
	}
	data, from, total, err := r.ReadAt(pos, most)
	if err != nil {
		return nil, 0, false, err
	}
	return data, from, ended && from+uint64(len(data)) == total, nil
}

// ErrPosition is what ReadSince says of a position that the stream has not come
// to.
var ErrPosition = shim.ErrPosition

// Buffered returns how many bytes of both streams are not drained, and how many
// were dropped before anybody had drained them. What cannot be read counts as
// nothing.
func (c *Child) Buffered() (bytes, dropped uint64) {
	c.logMu.Lock()
	defer c.logMu.Unlock()
	for _, r := range c.logs {
		if r == nil {
			continue
		}
		if n, _, err := r.Buffered(); err == nil {
			bytes += n
		}
		if n, err := r.Dropped(); err == nil {
			dropped += n
		}
	}
	return bytes, dropped
}

// Written returns how many bytes of each stream have come into its ring.
func (c *Child) Written() (n [2]uint64) {
	c.logMu.Lock()
	defer c.logMu.Unlock()
	for s, r := range c.logs {
		if r == nil {
			continue
		}
		if _, total, err := r.Buffered(); err == nil {
			n[s] = total
		}
	}
	return n
}

// HasOutput tells whether a drain would return something. If not, the shim tells
// as soon as it would: whoever watches Output is woken then.
func (c *Child) HasOutput() bool {
	ended := c.endedStreams()
	c.logMu.Lock()
	defer c.logMu.Unlock()
	return c.look(func(s Stream, n, total uint64) bool {
		return n > 0 && (ended[s] || total != c.kept[s])
	})
}

// look tells whether a ring shows what is wanted. If none does, the shim is
// asked to tell of output, and the rings are looked at again. It must be called
// with logMu held.
func (c *Child) look(wanted func(s Stream, undrained, total uint64) bool) bool {
	return c.see(wanted) || c.askForOutput() && c.see(wanted)
}

func (c *Child) see(wanted func(s Stream, undrained, total uint64) bool) bool {
	for s, r := range c.logs {
		if r == nil {
			continue
		}
		if n, total, err := r.Buffered(); err == nil && wanted(Stream(s), n, total) {
			return true
		}
	}
	return false
}

// Output is ready while a drain would return something, and for good once both
// streams have ended. It costs nothing while the program writes and nobody
// waits, and one message of the shim each time that somebody waits.
func (c *Child) Output() poll.Source {
	return outputSource{c, c.HasOutput}
}

// More is ready once one of the streams has come beyond the bytes in after, see
// Written, whether drained or not, and for good once both have ended.
func (c *Child) More(after [2]uint64) poll.Source {
	return outputSource{c, func() bool {
		c.logMu.Lock()
		defer c.logMu.Unlock()
		return c.look(func(s Stream, _, total uint64) bool { return total > after[s] })
	}}
}

type outputSource struct {
	c     *Child
	ready func() bool
}

// Ready implements that method of poll.Source.
func (s outputSource) Ready() bool {
	return s.c.mute() || s.ready()
}

// Watch implements that method of poll.Source.
func (s outputSource) Watch(wake chan<- struct{}) (stop func()) {
	stop = s.c.output.Watch(wake)
	if s.c.version < shim.VersionStreams {
		return s.lookOften(stop)
	}
	s.c.logMu.Lock()
	defer s.c.logMu.Unlock()
	s.c.askForOutput()
	return stop
}

// oldPause is how long output of an older shim may go unseen.
const oldPause = 100 * time.Millisecond

// lookOften stands in for a shim that does not tell of output: while somebody
// watches, the rings are looked at ten times a second.
func (s outputSource) lookOften(stop func()) func() {
	over := make(chan struct{})
	go func() {
		tick := time.NewTicker(oldPause)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				if s.Ready() {
					s.c.output.Notify()
				}
			}
		}
	}()
	return sync.OnceFunc(func() { close(over); stop() })
}

// askForOutput has the shim tell, once, of what is written from now on. It must
// be called with logMu held.
func (c *Child) askForOutput() bool {
	for _, r := range c.logs {
		if r == nil || r.Ask() != nil {
			return false
		}
	}
	return true
}
