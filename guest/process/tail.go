package process

import (
	"errors"
	"io"
	"iter"
	"time"
)

// Stream is one of a program's outputs.
type Stream uint8

// The streams.
const (
	Stdout Stream = iota
	Stderr
)

// Cursor is a place in one stream of one process. It is text that may be kept,
// or given to a caller who will bring it back. Empty: where what the host still
// has begins.
type Cursor string

// MaxChunk is how many bytes the host returns in one [ID.ReadSince].
const MaxChunk = 4 << 20

// Chunk is a piece of a stream.
type Chunk struct {
	Data []byte // as the program wrote it, not only text

	// Next is where Data ends.
	Next Cursor

	// Dropped is how many bytes between the cursor and Data were lost.
	Dropped uint64

	// EOF tells that nothing will come after Data.
	EOF bool
}

// ReadSince returns up to max bytes of a stream from a cursor on, perhaps none.
// It does not block and takes nothing away from anybody. A cursor that is not
// of this stream of this process is ErrNoSuchProcess.
func (id ID) ReadSince(s Stream, from Cursor, max uint32) (Chunk, error) {
	if valid("", string(from)) != nil {
		return Chunk{}, ErrNoSuchProcess
	}
	var some uint32
	if from != "" {
		some = 1
	}
	v, err := id.call(48, 8, func(ret uint32) {
		rawReadSince(string(id), uint32(s), some, string(from), max, ret)
	})
	if err != nil {
		return Chunk{}, err
	}
	return liftChunk(v, 8), nil
}

// Tail follows one stream of a persistent process from a cursor on, until it
// ends. It is an io.Reader; for lines put a bufio.Scanner on it. While somebody
// follows it, a process is not idle.
type Tail struct {
	stream  Stream
	cursor  Cursor
	dropped uint64
	eof     bool

	// The process's ReadSince and WaitFor.
	read func(Stream, Cursor, uint32) (Chunk, error)
	wait func(time.Duration) (Exit, error)
}

// Tail begins to follow a stream. It may end in one call of the capsule and be
// taken up in another, from where [Tail.Cursor] was.
func (id ID) Tail(s Stream, from Cursor) *Tail {
	return &Tail{stream: s, cursor: from, read: id.ReadSince, wait: id.WaitFor}
}

// Cursor returns where the next read begins.
func (t *Tail) Cursor() Cursor { return t.cursor }

// Dropped returns how many bytes were lost so far: the process wrote them, and
// they were overwritten before they were read here.
func (t *Tail) Dropped() uint64 { return t.dropped }

// Next returns the next piece of the stream, of up to max bytes. It blocks
// until there is one; after the last the error is io.EOF.
func (t *Tail) Next(max uint32) (Chunk, error) {
	for {
		if c, err := t.NextWithin(max, waitSlice); !errors.Is(err, ErrWaitTimeout) {
			return c, err
		}
	}
}

// NextWithin is Next with a bound; then the error is ErrWaitTimeout. 0 does not
// wait.
func (t *Tail) NextWithin(max uint32, d time.Duration) (Chunk, error) {
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		if t.eof {
			return Chunk{}, io.EOF
		}
		c, err := t.read(t.stream, t.cursor, max)
		if err != nil {
			return Chunk{}, err
		}
		t.take(c)
		switch {
		case len(c.Data) > 0 || c.Dropped > 0:
			return c, nil
		case t.eof:
			return Chunk{}, io.EOF
		case d <= 0:
			return Chunk{}, ErrWaitTimeout
		}
		pause = min(pause, d)
		if err := t.idle(pause); err != nil {
			return Chunk{}, err
		}
		d -= pause
	}
}

// take moves to where a chunk ends.
func (t *Tail) take(c Chunk) {
	t.eof = c.EOF
	t.dropped += c.Dropped
	if c.Next != "" {
		t.cursor = c.Next
	}
}

// The pauses between two looks at a stream on which nothing comes: they grow
// from the first to the second.
const (
	minPause = 5 * time.Millisecond
	maxPause = 250 * time.Millisecond
)

// idle passes the time. It does so in a wait for the process: that ends when
// the process or the call of the capsule does. There is no pollable for output
// after a cursor; that of SubscribeLogs is for what is drained.
func (t *Tail) idle(pause time.Duration) error {
	_, err := t.wait(pause)
	switch {
	case errors.Is(err, ErrWaitTimeout):
		return nil
	case err == nil:
		// It has ended, and its output is about to.
		time.Sleep(minPause)
	}
	return err
}

// Read implements io.Reader.
func (t *Tail) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		c, err := t.Next(uint32(min(len(p), MaxChunk)))
		if err != nil || len(c.Data) > 0 {
			return copy(p, c.Data), err
		}
	}
}

// Chunks returns the pieces that are still to come. An error other than the end
// of the stream is the last element.
func (t *Tail) Chunks() iter.Seq2[Chunk, error] {
	return func(yield func(Chunk, error) bool) {
		for {
			c, err := t.Next(MaxChunk)
			if errors.Is(err, io.EOF) || !yield(c, err) || err != nil {
				return
			}
		}
	}
}
