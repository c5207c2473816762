package serve

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/astrid-os/processledger/host/ipc"
	"github.com/astrid-os/processledger/host/poll"
	"github.com/astrid-os/processledger/internal/control"
)

// logs sends what a process has written, and with follow what it writes.
func (s *Server) logs(w http.ResponseWriter, r *http.Request) {
	q, err := control.ParseLogsQuery(r.URL.Query())
	if err != nil {
		fail(w, control.Errorf(control.CodeUsage, "%v", err))
		return
	}
	if err := checkHandle(q.ID); err != nil {
		fail(w, err)
		return
	}
	out := newLineSink(w)
	err = s.o.Backend.Logs(r.Context(), q, func(c *control.LogChunk) error { return out.line(c) }, out.flush)
	out.end(s.orStopping(err))
}

// bus sends the messages of the bus that fit a pattern, from now on until the
// client leaves or the daemon stops.
func (s *Server) bus(w http.ResponseWriter, r *http.Request) {
	if err := params(r, "topic"); err != nil {
		fail(w, err)
		return
	}
	pattern := r.URL.Query().Get("topic")
	if pattern == "" {
		pattern = "*"
	}
	sub, err := s.o.Backend.Subscribe(pattern)
	if err != nil {
		fail(w, err)
		return
	}
	defer sub.Close()
	out := newLineSink(w)
	if err := out.flush(); err != nil { // the client learns that it is subscribed
		return
	}
	for {
		if _, err := poll.Wait(r.Context(), sub); err != nil {
			out.end(s.orStopping(err))
			return
		}
		more, err := passOn(sub.Poll(), out)
		if err != nil {
			return // the client left
		}
		if !more {
			out.end(s.stopping())
			return
		}
	}
}

// passOn writes an envelope. An empty one means that the bus is closed.
func passOn(e ipc.Envelope, out *lineSink) (more bool, err error) {
	dropped := e.Dropped
	for i := range e.Messages {
		m := busMessage(&e.Messages[i])
		m.Dropped, m.Lagged = dropped, e.Lagged
		dropped = 0
		if err := out.line(m); err != nil {
			return false, err
		}
	}
	return len(e.Messages) > 0, out.flush()
}

// principalKinds are the names of the bus's kinds of principal.
var principalKinds = map[ipc.PrincipalKind]string{ipc.Verified: "verified", ipc.Claimed: "claimed", ipc.System: "system"}

func busMessage(m *ipc.Message) *control.BusMessage {
	return &control.BusMessage{
		At: time.Now().UTC(), Topic: m.Topic, Payload: m.Payload, SourceID: m.SourceID,
		Principal: control.BusPrincipal{Kind: principalKinds[m.Principal.Kind], Name: m.Principal.Name},
	}
}

// lineSink writes an answer of lines. The first line, or a flush, decides that
// the status is 200.
type lineSink struct {
	w    http.ResponseWriter
	sent bool
}

func newLineSink(w http.ResponseWriter) *lineSink {
	w.Header().Set("Content-Type", control.TypeNDJSON)
	return &lineSink{w: w}
}

func (s *lineSink) line(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	s.sent = true
	_, err = s.w.Write(append(b, '\n'))
	return err
}

// flush pushes out what waits, the header at least: nothing follows for the
// time being.
func (s *lineSink) flush() error {
	s.sent = true
	return http.NewResponseController(s.w).Flush()
}

// end writes the last line; err is why it ends early. A client that left needs
// none, so errors of writing are not told.
func (s *lineSink) end(err error) {
	switch {
	case err == nil:
		_ = s.line(control.EndLine{End: true})
	case !s.sent:
		fail(s.w, err)
	default:
		_ = s.line(control.EndLine{Error: asControl(err)})
	}
}
