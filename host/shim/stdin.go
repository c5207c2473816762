//go:build linux

package shim

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// stdin is a standard input that stays open: a pipe whose write end the shim
// keeps for as long as nobody asks for its end, so that the death of a daemon
// is no end of input. Each daemon gets a copy of the write end once the prelude
// is through, and writes by itself.
//
// It belongs to the supervisor's goroutine, but for feed.
type stdin struct {
	state   uint32   // one of StdinNone to StdinClosed
	pipe    *os.File // the write end, not blocking; nil once closed
	fd      int      // of pipe
	prelude *os.File // nil for none
	closing bool     // to be closed once the prelude is through

	// fed gets nil once the prelude is through, or why it is not: the program
	// reads no more. Nil once that was heard.
	fed chan error
}

// openStdin makes the pipe, and returns the read end for the program. The
// prelude, if there is one, is the descriptor that the shim inherited.
func openStdin(spec *Spec) (s *stdin, read int, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, -1, os.NewSyscallError("pipe", err)
	}
	if err := unix.SetNonblock(p[1], true); err != nil {
		unix.Close(p[0])
		unix.Close(p[1])
		return nil, -1, os.NewSyscallError("fcntl", err)
	}
	s = &stdin{state: StdinFeeding, pipe: os.NewFile(uintptr(p[1]), "stdin"), fd: p[1], fed: make(chan error, 1)}
	if spec.HasStdin {
		s.prelude = os.NewFile(shimStdin, "prelude")
	}
	return s, p[0], nil
}

// start begins to write the prelude.
func (s *stdin) start() {
	if s.state != StdinFeeding {
		return
	}
	if s.prelude == nil {
		s.fed <- nil
		return
	}
	go s.feed()
}

// preludeChunk bounds what is copied at a time: a pipe takes 64 KiB.
const preludeChunk = 64 << 10

// feed writes the prelude, as fast as the program reads it.
func (s *stdin) feed() {
	// Without their methods, so that nobody tries to splice a memfd.
	_, err := io.CopyBuffer(struct{ io.Writer }{s.pipe}, struct{ io.Reader }{s.prelude}, make([]byte, preludeChunk))
	s.prelude.Close()
	s.fed <- err
}

// heard takes in that the prelude is through, or will never be.
func (s *stdin) heard(err error) {
	s.fed = nil
	if err != nil || s.closing {
		s.close()
		return
	}
	s.state = StdinOpen
}

// end has the program see the end of its input after all that was written.
func (s *stdin) end() {
	if s.state == StdinFeeding {
		s.closing = true
		return
	}
	s.close()
}

func (s *stdin) close() {
	if s.pipe == nil {
		return
	}
	s.pipe.Close()
	s.pipe, s.state = nil, StdinClosed
}

// told is what a daemon is to hear: one that is being closed is closed to it.
func (s *stdin) told() uint32 {
	if s.closing {
		return StdinClosed
	}
	return s.state
}

// tellStdin hands the write end to the daemon, or says that there is none.
func (s *supervisor) tellStdin() {
	m := &Message{Type: TypeStdin, Stdin: s.in.told()}
	switch s.in.state {
	case StdinOpen:
		s.tell(m, s.in.fd)
	case StdinClosed:
		s.tell(m)
	}
}
