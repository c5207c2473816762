package serve

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host/ipc"
	"github.com/astrid-os/processledger/internal/control"
)

// codeOfError is the code that a client saw.
func codeOfError(err error) control.Code {
	var ce *control.Error
	if errors.As(err, &ce) {
		return ce.Code
	}
	return ""
}

func (h *house) publish(t *testing.T, topic, payload string) {
	t.Helper()
	err := h.bus.Publish(ipc.Message{
		Topic: topic, Payload: []byte(payload), SourceID: "s-1", Principal: ipc.Principal{Kind: ipc.Claimed, Name: "alice"},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestBusByPattern(t *testing.T) {
	h := start(t)
	lines, err := h.client.Bus(t.Context(), "tool.v1.*")
	if err != nil {
		t.Fatal(err)
	}
	defer lines.Close()
	h.publish(t, "other.v1", `{}`)
	h.publish(t, "tool.v1.result", `{"a":[1,"<&>"]}`)
	for m, err := range lines.All() {
		if err != nil {
			t.Fatal(err)
		}
		if m.Topic != "tool.v1.result" || m.SourceID != "s-1" || m.Principal != (control.BusPrincipal{Kind: "claimed", Name: "alice"}) {
			t.Errorf("got %+v", m)
		}
		var payload map[string][]any
		if err := json.Unmarshal(m.Payload, &payload); err != nil || len(payload["a"]) != 2 || payload["a"][1] != "<&>" {
			t.Errorf("payload %s, %v", m.Payload, err)
		}
		if time.Since(m.At) > time.Minute || m.Dropped != 0 || m.Lagged != 0 {
			t.Errorf("at %v, dropped %d, lagged %d", m.At, m.Dropped, m.Lagged)
		}
		break
	}
}

// TestBusEndsWithTheServer: followers learn why, and do not hold it up.
func TestBusEndsWithTheServer(t *testing.T) {
	h := start(t)
	lines, err := h.client.Bus(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer lines.Close()
	stopped := make(chan error, 1)
	go func() { stopped <- h.server.Shutdown(context.Background()) }()
	var last error
	for _, err := range lines.All() {
		last = err
	}
	if codeOfError(last) != control.CodeUnavailable {
		t.Errorf("it ended with %v", last)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestBusThatCloses is a daemon that stops before its server does.
func TestBusThatCloses(t *testing.T) {
	h := start(t)
	lines, err := h.client.Bus(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer lines.Close()
	h.bus.Close()
	var last error
	for _, err := range lines.All() {
		last = err
	}
	if codeOfError(last) != control.CodeUnavailable {
		t.Errorf("it ended with %v", last)
	}
	if _, err := h.client.Bus(t.Context(), ""); codeOfError(err) != control.CodeUnavailable {
		t.Errorf("a closed bus: %v", err)
	}
}

// TestBusTellsWhatWasLost: a reader that was too slow learns how much it missed.
func TestBusTellsWhatWasLost(t *testing.T) {
	h := start(t)
	sub, err := h.bus.Subscribe("operators", "*")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	for range ipc.QueueMessages + 3 {
		err := h.bus.Announce(ipc.Message{Topic: "a", Payload: []byte("1"), Principal: ipc.Principal{Kind: ipc.System}})
		if err != nil {
			t.Fatal(err)
		}
	}
	var got []*control.BusMessage
	rec := &recorder{}
	if more, err := passOn(sub.Poll(), newLineSink(rec)); err != nil || !more {
		t.Fatal(more, err)
	}
	for line := range strings.Lines(rec.text.String()) {
		m := new(control.BusMessage)
		if err := json.Unmarshal([]byte(line), m); err != nil {
			t.Fatal(err)
		}
		got = append(got, m)
	}
	if len(got) != ipc.QueueMessages || got[0].Dropped != 3 || got[1].Dropped != 0 || got[1].Lagged != 3 || got[0].Principal.Kind != "system" {
		t.Errorf("%d messages, the first %+v", len(got), got[0])
	}
}

// recorder is a ResponseWriter that can be flushed.
type recorder struct {
	text   strings.Builder
	header http.Header
}

func (r *recorder) Header() http.Header {
	if r.header == nil {
		r.header = http.Header{}
	}
	return r.header
}
func (r *recorder) Write(b []byte) (int, error) { return r.text.Write(b) }
func (r *recorder) WriteHeader(int)             {}
func (r *recorder) Flush()                      {}

func TestBusRefusals(t *testing.T) {
	h := start(t)
	if _, err := h.client.Bus(t.Context(), "No Pattern"); codeOfError(err) != control.CodeUsage {
		t.Errorf("malformed pattern: %v", err)
	}
	for range ipc.MaxSubscriptions {
		if _, err := h.bus.Subscribe("operators", "*"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.client.Bus(t.Context(), ""); codeOfError(err) != control.CodeQuota {
		t.Errorf("too many: %v", err)
	}
}

func TestLogs(t *testing.T) {
	h := start(t)
	id := ulid.Make().String()
	waiting := make(chan struct{})
	h.logs = func(ctx context.Context, q *control.LogsQuery, chunk func(*control.LogChunk) error, flush func() error) error {
		if *q != (control.LogsQuery{ID: id, Stream: control.Stdout, Cursor: "7", Follow: true}) {
			return control.Errorf(control.CodeUsage, "got %+v", q)
		}
		if err := chunk(&control.LogChunk{Stream: control.Stdout, Data: []byte("a\xff\n"), Next: "10", Dropped: 2}); err != nil {
			return err
		}
		if err := flush(); err != nil {
			return err
		}
		<-waiting // the client has the first before there is a second
		return chunk(&control.LogChunk{Stream: control.Stdout, Next: "10", EOF: true})
	}
	lines, err := h.client.Logs(t.Context(), &control.LogsQuery{ID: id, Stream: control.Stdout, Cursor: "7", Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer lines.Close()
	n := 0
	for c, err := range lines.All() {
		if err != nil {
			t.Fatal(err)
		}
		switch n++; n {
		case 1:
			if string(c.Data) != "a\xff\n" || c.Next != "10" || c.Dropped != 2 || c.EOF {
				t.Errorf("first %+v", c)
			}
			close(waiting)
		case 2:
			if len(c.Data) != 0 || !c.EOF {
				t.Errorf("second %+v", c)
			}
		}
	}
	if n != 2 {
		t.Errorf("%d chunks", n)
	}
}

// TestLogsFail: before the first line it is a status, behind it the last line.
func TestLogsFail(t *testing.T) {
	h := start(t)
	q := &control.LogsQuery{ID: ulid.Make().String()}
	gone := control.Errorf(control.CodeNotFound, "released")
	h.logs = func(context.Context, *control.LogsQuery, func(*control.LogChunk) error, func() error) error {
		return gone
	}
	if _, err := h.client.Logs(t.Context(), q); codeOfError(err) != control.CodeNotFound {
		t.Errorf("at once: %v", err)
	}
	h.logs = func(_ context.Context, _ *control.LogsQuery, chunk func(*control.LogChunk) error, _ func() error) error {
		return errors.Join(chunk(&control.LogChunk{}), gone)
	}
	lines, err := h.client.Logs(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	defer lines.Close()
	var last error
	for _, err := range lines.All() {
		last = err
	}
	if codeOfError(last) != control.CodeNotFound {
		t.Errorf("in the end: %v", last)
	}
	for _, bad := range []*control.LogsQuery{{}, {ID: "x"}, {ID: q.ID, Stream: "stdin"}, {ID: q.ID, Cursor: "1"}} {
		if _, err := h.client.Logs(t.Context(), bad); codeOfError(err) != control.CodeUsage {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
