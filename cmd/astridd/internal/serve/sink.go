package serve

import (
	"bufio"
	"encoding/json"
	"net/http"
	"time"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/ledger/event"
)

// How long what is written may wait for more, and how often a scan that finds
// nothing gives a sign of life.
const (
	flushAfter    = 100 * time.Millisecond
	progressAfter = time.Second
)

// sink writes the answer of /v1/events: frames, or a line of JSON an event.
type sink struct {
	w      http.ResponseWriter
	buf    *bufio.Writer
	frames *control.FrameWriter // nil: lines

	sent   bool      // something has left the buffer: the status cannot change any more
	dirty  bool      // something waits in the buffer
	wrote  time.Time // last write into the buffer
	pushed time.Time // last flush
}

func newSink(w http.ResponseWriter, frames bool) *sink {
	s := &sink{w: w, buf: bufio.NewWriterSize(w, 2*control.MaxFrame), wrote: time.Now(), pushed: time.Now()}
	kind := control.TypeNDJSON
	if frames {
		kind, s.frames = control.TypeFrames, control.NewFrameWriter(s.buf)
	}
	w.Header().Set("Content-Type", kind)
	return s
}

// event writes one event.
func (s *sink) event(e *event.Event) error {
	s.noteWrite()
	if s.frames != nil {
		return s.frames.Event(e)
	}
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return s.line(b)
}

func (s *sink) line(b []byte) error {
	_, err := s.buf.Write(append(b, '\n'))
	return err
}

// noteWrite is called before each write, which may spill the buffer.
func (s *sink) noteWrite() {
	s.dirty, s.wrote = true, time.Now()
	s.sent = s.sent || s.buf.Available() < control.MaxFrame
}

// scanned notes how far the scan has come. now pushes out what waits, because
// nothing follows for the time being.
func (s *sink) scanned(seq uint64, now bool) error {
	t := time.Now()
	if s.frames != nil && t.Sub(s.wrote) > progressAfter {
		s.noteWrite()
		if err := s.frames.Progress(seq); err != nil {
			return err
		}
		now = true
	}
	if s.dirty && (now || t.Sub(s.pushed) > flushAfter) {
		return s.flush()
	}
	return nil
}

// flush pushes out what waits, the header at least.
func (s *sink) flush() error {
	s.sent, s.dirty, s.pushed = true, false, time.Now()
	if err := s.buf.Flush(); err != nil {
		return err
	}
	return http.NewResponseController(s.w).Flush()
}

// end ends the answer; through is the last seq that was looked at. A client
// that left needs no end, so errors are not told.
func (s *sink) end(through uint64) {
	if s.frames != nil {
		_ = s.frames.End(through)
	}
	_ = s.flush()
}

// fail ends the answer with an error: as a status while none is sent, else as
// the last frame or line.
func (s *sink) fail(err error) {
	if !s.sent {
		s.buf.Reset(nil)
		fail(s.w, err)
		return
	}
	e := asControl(err)
	if s.frames != nil {
		_ = s.frames.Error(e)
	} else if b, merr := json.Marshal(map[string]*control.Error{"error": e}); merr == nil {
		_ = s.line(b)
	}
	_ = s.flush()
}
