package process

import "io"

// WriteStdin writes up to [MaxWrite] bytes to the process's stdin, and returns
// how many it took: all of them, unless there is an error, after which the
// stream is closed. It blocks while the process does not read. The process must
// have been started with KeepStdinOpen, else the error is ErrClosed.
func (id ID) WriteStdin(b []byte) (int, error) {
	v, err := id.call(16, 4, func(ret uint32) { rawWriteStdin(string(id), text(b), ret) })
	if err != nil {
		return 0, err
	}
	return int(v.U32(4)), nil
}

// CloseStdin lets the process see the end of its stdin. It may be called again.
func (id ID) CloseStdin() error {
	return id.act(func(ret uint32) { rawCloseStdin(string(id), ret) })
}

// Stdin returns a writer to the process's stdin that takes writes of any size;
// its Close is CloseStdin.
func (id ID) Stdin() io.WriteCloser { return stdin{id} }

// stdin writes in pieces that the host takes.
type stdin struct {
	to interface {
		WriteStdin([]byte) (int, error)
		CloseStdin() error
	}
}

// Write implements io.Writer. Writers of one process take turns by piece.
func (s stdin) Write(b []byte) (int, error) {
	total := 0
	for {
		piece := b[total:min(total+MaxWrite, len(b))]
		n, err := s.to.WriteStdin(piece)
		total += n
		switch {
		case err != nil:
			return total, err
		case n < len(piece):
			return total, io.ErrShortWrite
		case total == len(b):
			return total, nil
		}
	}
}

// Close implements io.Closer.
func (s stdin) Close() error { return s.to.CloseStdin() }
