package control

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/astrid-os/processledger/ledger/event"
)

// The framed form of /v1/events. Each frame is a type byte, the length of its
// payload as 4 bytes big endian, and the payload:
//
//	E  an event: the seq of the previous event of its handle as 8 bytes big
//	   endian, then the event as event.Encode gives it
//	P  progress: 8 bytes big endian, the seq up to which the ledger has been
//	   read; sent now and then while nothing matches, and is a sign of life
//	X  an Error as JSON; the last frame
//	Z  the end, with the seq as in P; the last frame
//
// A stream that ends without X or Z was cut off.
const (
	frameEvent    = 'E'
	frameProgress = 'P'
	frameError    = 'X'
	frameEnd      = 'Z'
)

// MaxFrame is the most bytes of a frame's payload: an event with room for what
// stands beside it. A reader allocates no more.
const MaxFrame = event.MaxEncoded + 4096

// ErrCutOff says that a stream of events ended before its end frame.
var ErrCutOff = errors.New("the stream of events was cut off")

// FrameWriter writes frames. It does not flush.
type FrameWriter struct {
	w   io.Writer
	buf []byte
}

// NewFrameWriter returns a writer of frames to w.
func NewFrameWriter(w io.Writer) *FrameWriter { return &FrameWriter{w: w} }

// Event writes one event.
func (f *FrameWriter) Event(e *event.Event) error {
	f.start(frameEvent)
	f.buf = binary.BigEndian.AppendUint64(f.buf, e.Prev)
	f.buf = event.AppendEncode(f.buf, e)
	return f.finish()
}

// Progress writes how far the ledger has been read.
func (f *FrameWriter) Progress(seq uint64) error { return f.number(frameProgress, seq) }

// End writes the end of the stream.
func (f *FrameWriter) End(seq uint64) error { return f.number(frameEnd, seq) }

// Error writes the failure that ends the stream.
func (f *FrameWriter) Error(e *Error) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	f.start(frameError)
	f.buf = append(f.buf, b...)
	return f.finish()
}

func (f *FrameWriter) number(kind byte, n uint64) error {
	f.start(kind)
	f.buf = binary.BigEndian.AppendUint64(f.buf, n)
	return f.finish()
}

func (f *FrameWriter) start(kind byte) { f.buf = append(f.buf[:0], kind, 0, 0, 0, 0) }

func (f *FrameWriter) finish() error {
	binary.BigEndian.PutUint32(f.buf[1:], uint32(len(f.buf)-5))
	_, err := f.w.Write(f.buf)
	return err
}

// frameReader reads what a FrameWriter wrote.
type frameReader struct {
	r       *bufio.Reader
	through uint64 // of the last progress or end frame, or event
}

// next returns the next event; nil and nil for a progress frame, io.EOF after
// the end frame.
func (f *frameReader) next() (*event.Event, error) {
	kind, payload, err := f.frame()
	if err != nil {
		return nil, err
	}
	switch kind {
	case frameEvent:
		return f.event(payload)
	case frameProgress, frameEnd:
		if len(payload) != 8 {
			return nil, fmt.Errorf("frame %q of %d bytes", kind, len(payload))
		}
		f.through = binary.BigEndian.Uint64(payload)
		if kind == frameEnd {
			return nil, io.EOF
		}
		return nil, nil
	case frameError:
		e := new(Error)
		if err := json.Unmarshal(payload, e); err != nil {
			return nil, fmt.Errorf("frame of an error: %w", err)
		}
		return nil, e
	}
	return nil, fmt.Errorf("frame of unknown type %q", kind)
}

// frame reads one frame whole.
func (f *frameReader) frame() (kind byte, payload []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return 0, nil, cutOff(err)
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > MaxFrame {
		return 0, nil, fmt.Errorf("frame of %d bytes, at most %d are allowed", n, MaxFrame)
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(f.r, payload); err != nil {
		return 0, nil, cutOff(err)
	}
	return head[0], payload, nil
}

func cutOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrCutOff
	}
	return err
}

func (f *frameReader) event(payload []byte) (*event.Event, error) {
	if len(payload) < 8 {
		return nil, fmt.Errorf("frame of an event of %d bytes", len(payload))
	}
	e, err := event.Decode(payload[8:])
	if err != nil {
		return nil, err
	}
	e.Prev = binary.BigEndian.Uint64(payload)
	f.through = e.Seq
	return e, nil
}
