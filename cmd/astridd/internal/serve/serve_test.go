package serve

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host/ipc"
	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/query"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// fake is a daemon with a real ledger and no processes.
type fake struct {
	live       *projector.Live
	phase      control.Phase
	unrecorded []string
	invoke     func(context.Context, event.Actor, *control.Invocation) (*control.Answer, error)
	cancelled  *control.CancelRequest
	idle       map[string]time.Duration
	stop       func(context.Context, event.Actor, *control.StopRequest) (*control.StopAnswer, error)
	logs       func(context.Context, *control.LogsQuery, func(*control.LogChunk) error, func() error) error
	bus        *ipc.Bus
	restart    func(context.Context, event.Actor, *control.RestartRequest) (*control.RestartAnswer, error)
	run        func(ctx context.Context, r *control.RunRequest, module []byte, stdin io.Reader, stdout, stderr io.Writer) (uint32, error)
}

func (f *fake) Status() *control.Status {
	return &control.Status{Version: "v-test", API: control.Version, Phase: f.phase}
}
func (f *fake) Live() *projector.Live { return f.live }
func (f *fake) BackedUp(context.Context, event.Actor, *control.Backup) (*control.BackupAnswer, error) {
	return &control.BackupAnswer{}, nil
}

func (f *fake) Trouble() map[string]control.Trouble { return nil }

func (f *fake) Ps(context.Context, bool) (*control.Ps, error) { return nil, nil }

func (f *fake) Unrecorded() []string           { return f.unrecorded }
func (f *fake) Idle() map[string]time.Duration { return f.idle }
func (f *fake) Stop(ctx context.Context, by event.Actor, r *control.StopRequest) (*control.StopAnswer, error) {
	return f.stop(ctx, by, r)
}
func (f *fake) Restart(ctx context.Context, by event.Actor, r *control.RestartRequest) (*control.RestartAnswer, error) {
	return f.restart(ctx, by, r)
}
func (f *fake) Logs(ctx context.Context, q *control.LogsQuery, chunk func(*control.LogChunk) error, flush func() error) error {
	return f.logs(ctx, q, chunk, flush)
}
func (f *fake) Subscribe(pattern string) (*ipc.Subscription, error) {
	return f.bus.Subscribe("operators", pattern)
}
func (f *fake) Run(ctx context.Context, _ event.Actor, r *control.RunRequest, module []byte, stdin io.Reader, stdout, stderr io.Writer) (uint32, error) {
	return f.run(ctx, r, module, stdin, stdout, stderr)
}
func (f *fake) Capsules() *control.Capsules {
	return &control.Capsules{Capsules: []control.Capsule{{Name: "builder"}}}
}
func (f *fake) Invoke(ctx context.Context, by event.Actor, in *control.Invocation) (*control.Answer, error) {
	return f.invoke(ctx, by, in)
}
func (f *fake) Cancel(_ context.Context, _ event.Actor, r *control.CancelRequest) (*control.CancelAnswer, error) {
	f.cancelled = r
	return &control.CancelAnswer{Cancel: "c", Handles: []string{"h"}}, nil
}

// house is a server on a real socket, and a client of it.
type house struct {
	*fake
	server *Server
	client *control.Client
	served chan error
	ids    map[string]ulid.ULID
}

func start(t *testing.T, operators ...uint32) *house {
	t.Helper()
	dir := t.TempDir()
	live, err := projector.Open(filepath.Join(dir, "ledger"), ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if operators == nil {
		operators = []uint32{uint32(os.Geteuid())}
	}
	h := &house{fake: &fake{live: live, phase: control.PhaseReady, bus: ipc.New(ipc.Options{})}, served: make(chan error, 1), ids: map[string]ulid.ULID{}}
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	h.server = New(Options{Backend: h.fake, Operators: operators})
	go func() { h.served <- h.server.Serve(l) }()
	h.client = control.NewClient(filepath.Join(dir, "s"))
	t.Cleanup(func() {
		h.client.Close()
		if err := h.server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-h.served; err != nil {
			t.Error(err)
		}
		if err := live.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// add commits events of one scope in one commit; a new handle gets the id that
// the ledger gives the request.
func (h *house) add(t *testing.T, principal, handle string, bodies ...event.Body) {
	t.Helper()
	_, err := h.live.Decide(t.Context(), func(_ *projector.State, next ledger.Header) ([]*event.Event, error) {
		var es []*event.Event
		for _, b := range bodies {
			e := &event.Event{Body: b, Scope: event.Scope{Actor: event.Actor{Kind: event.ActorHost}}}
			if handle != "" {
				if h.ids[handle].IsZero() {
					h.ids[handle] = next.ID
				}
				e.Principal, e.Capsule, e.CallID, e.Handle = principal, "builder", "call-"+handle, h.ids[handle]
			}
			es = append(es, e)
		}
		return es, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// fill writes the history that most tests read: seq 1 is segment.opened, 2 the
// start, then git of alice (3 4 7), sh of bob (5 6, refused), make of alice
// (8 9, live).
func (h *house) fill(t *testing.T) {
	t.Helper()
	zero := int32(0)
	granted := func(cmd string) []event.Body {
		return []event.Body{
			&event.SpawnRequested{Tier: event.TierBackground, Command: cmd},
			&event.SpawnDecided{Outcome: event.OutcomeGranted, Orders: &event.Orders{}, Isolation: "none", Cwd: "/w"},
		}
	}
	h.add(t, "", "", &event.DaemonStarted{Version: "v-test"})
	h.add(t, "alice", "git", granted("git")...)
	h.add(t, "bob", "sh", &event.SpawnRequested{Tier: event.TierSync, Command: "sh"},
		&event.SpawnDecided{Outcome: event.OutcomeRefused, Code: "quota"})
	h.add(t, "alice", "git", &event.ProcessStarted{}, &event.ProcessExited{Exit: event.Exit{Code: &zero}, Cause: "self"})
	h.add(t, "alice", "make", granted("make")...)
}

// seqs reads a stream to its end.
func (h *house) seqs(t *testing.T, q control.EventsQuery) []uint64 {
	t.Helper()
	s, err := h.client.Events(t.Context(), &q)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var out []uint64
	for e, err := range s.All() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e.Seq)
	}
	return out
}

func TestEventsByFilter(t *testing.T) {
	h := start(t)
	h.fill(t)
	for _, c := range []struct {
		name string
		q    control.EventsQuery
		want []uint64
	}{
		{"all", control.EventsQuery{}, []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		{"newest first", control.EventsQuery{Reverse: true, Limit: 3}, []uint64{10, 9, 8}},
		{"limit", control.EventsQuery{Limit: 2}, []uint64{1, 2}},
		{"seqs", control.EventsQuery{Filter: query.Filter{FromSeq: 4, ToSeq: 6}}, []uint64{4, 5, 6}},
		{"seqs beyond the end", control.EventsQuery{Filter: query.Filter{FromSeq: 100}}, nil},
		{"principal", control.EventsQuery{Filter: query.Filter{Principals: []string{"bob"}}}, []uint64{5, 6}},
		{"command", control.EventsQuery{Filter: query.Filter{Commands: []string{"git"}}}, []uint64{3, 4, 7, 8}},
		{"command, newest first", control.EventsQuery{Reverse: true, Filter: query.Filter{Commands: []string{"git"}}}, []uint64{8, 7, 4, 3}},
		{"command, late", control.EventsQuery{Filter: query.Filter{FromSeq: 6, Commands: []string{"git"}}}, []uint64{7, 8}},
		{"refused", control.EventsQuery{Filter: query.Filter{Outcomes: []string{"refused"}}}, []uint64{6}},
		{"future", control.EventsQuery{Filter: query.Filter{Since: time.Now().Add(time.Hour)}}, nil},
		{"past", control.EventsQuery{Filter: query.Filter{Until: time.Unix(1, 0)}}, nil},
		{"this hour", control.EventsQuery{Limit: 1, Filter: query.Filter{Since: time.Now().Add(-time.Hour), Until: time.Now().Add(time.Hour)}}, []uint64{1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := h.seqs(t, c.q); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// TestFramesCarryWholeEvents holds that the CLI gets what the ledger has, the
// back-pointer included, and a cursor.
func TestFramesCarryWholeEvents(t *testing.T) {
	h := start(t)
	h.fill(t)
	s, err := h.client.Events(t.Context(), &control.EventsQuery{Filter: query.Filter{Principals: []string{"alice"}, ToSeq: 8}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for got, err := range s.All() {
		if err != nil {
			t.Fatal(err)
		}
		want, err := h.live.Ledger().Get(t.Context(), got.Seq)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(event.Encode(got), event.Encode(want)) || got.Prev != want.Prev {
			t.Errorf("event %d: got %+v, want %+v", got.Seq, got, want)
		}
	}
	if s.Through() != 8 {
		t.Errorf("through is %d, want 8", s.Through())
	}
}

func TestFollow(t *testing.T) {
	h := start(t)
	h.fill(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := h.client.Events(ctx, &control.EventsQuery{Follow: true, Limit: 2, Filter: query.Filter{Principals: []string{"alice"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var got []uint64
	for e, err := range s.All() {
		if err != nil {
			t.Fatal(err)
		}
		switch got = append(got, e.Seq); len(got) {
		case 2: // what was there has arrived: now something new
			h.add(t, "bob", "sh2", &event.SpawnRequested{Tier: event.TierSync, Command: "sh"},
				&event.SpawnDecided{Outcome: event.OutcomeRefused, Code: "quota"})
			h.add(t, "alice", "make", &event.SpawnAborted{Reason: "caller-gone"})
		case 3:
			cancel()
		}
		if len(got) == 3 {
			break
		}
	}
	if !slices.Equal(got, []uint64{9, 10, 13}) {
		t.Errorf("got %v", got)
	}
}

func TestFollowEndsAtItsBounds(t *testing.T) {
	h := start(t)
	h.fill(t)
	done := make(chan []uint64, 1)
	go func() {
		done <- h.seqs(t, control.EventsQuery{Follow: true, Filter: query.Filter{FromSeq: 9, ToSeq: 11}})
	}()
	h.add(t, "", "", &event.DaemonStarted{}, &event.DaemonStarted{})
	if got := <-done; !slices.Equal(got, []uint64{9, 10, 11}) {
		t.Errorf("by seq: %v", got)
	}
	if got := h.seqs(t, control.EventsQuery{Follow: true, Filter: query.Filter{FromSeq: 12, Until: time.Now().Add(50 * time.Millisecond)}}); !slices.Equal(got, []uint64{12}) {
		t.Errorf("by time: %v", got)
	}
}

// TestFollowersEndWithTheServer holds that a stop neither waits for them nor
// looks like the end of what they asked for.
func TestFollowersEndWithTheServer(t *testing.T) {
	h := start(t)
	h.fill(t)
	s, err := h.client.Events(t.Context(), &control.EventsQuery{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var last error
	stopped := make(chan error, 1)
	for e, err := range s.All() {
		last = err
		if err == nil && e.Seq == 10 {
			go func() { stopped <- h.server.Shutdown(context.Background()) }()
		}
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	var ce *control.Error
	if !errors.As(last, &ce) || ce.Code != control.CodeUnavailable {
		t.Errorf("the stream ended with %v", last)
	}
}

func TestNewest(t *testing.T) {
	h := start(t)
	h.fill(t)
	var b bytes.Buffer
	n, err := h.client.Newest(t.Context(), &b)
	if err != nil {
		t.Fatal(err)
	}
	if n.First != 1 || n.Last != 10 || n.Bytes != int64(b.Len()) || b.Len() == 0 {
		t.Errorf("got %+v and %d bytes", n, b.Len())
	}
	if _, err := h.client.Status(t.Context()); err != nil {
		t.Errorf("the connection is of no use afterwards: %v", err)
	}
}

func TestPs(t *testing.T) {
	h := start(t)
	h.fill(t)
	h.unrecorded = []string{h.ids["make"].String()}
	for all, want := range map[bool][]string{false: {"make"}, true: {"git", "make"}} {
		ps, err := h.client.Ps(t.Context(), all)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, row := range ps.Handles {
			got = append(got, row.Command)
			if row.Unrecorded != (row.Command == "make") {
				t.Errorf("%s: unrecorded is %v", row.Command, row.Unrecorded)
			}
		}
		if ps.Seq != 10 || !slices.Equal(got, want) {
			t.Errorf("all %v: seq %d, %v", all, ps.Seq, got)
		}
	}
}

// TestBeforeTheLedgerIsOpen holds that the status is told in every phase, and
// that everything else says why not yet.
func TestBeforeTheLedgerIsOpen(t *testing.T) {
	h := start(t)
	live := h.live
	h.live, h.phase = nil, control.PhaseStarting
	t.Cleanup(func() { h.live = live })
	if s, err := h.client.Status(t.Context()); err != nil || s.Phase != control.PhaseStarting {
		t.Errorf("status: %+v, %v", s, err)
	}
	_, psErr := h.client.Ps(t.Context(), false)
	_, eventsErr := h.client.Events(t.Context(), &control.EventsQuery{})
	_, newestErr := h.client.Newest(t.Context(), io.Discard)
	for _, err := range []error{psErr, eventsErr, newestErr} {
		if control.ExitCode(err) != 4 || !strings.Contains(err.Error(), "starting") {
			t.Errorf("got %v, exit code %d", err, control.ExitCode(err))
		}
	}
}

func TestStrangerIsRefused(t *testing.T) {
	h := start(t, 4_000_000_000)
	_, err := h.client.Status(t.Context())
	if control.ExitCode(err) != 5 || !strings.Contains(err.Error(), "may not use this daemon") || !strings.Contains(err.Error(), "operators") {
		t.Errorf("got %v", err)
	}
}

// dial opens a connection and sends one request on it.
func dial(t *testing.T, socket string) (net.Conn, *http.Response) {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, "GET /v1/status HTTP/1.1\r\nHost: astridd\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return c, resp
}

// TestAStrangersConnectionIsClosed holds that a refusal costs no descriptor.
func TestAStrangersConnectionIsClosed(t *testing.T) {
	h := start(t, 4_000_000_000)
	c, resp := dial(t, h.client.Socket())
	if resp.StatusCode != http.StatusForbidden || !resp.Close {
		t.Errorf("status %d, close %v", resp.StatusCode, resp.Close)
	}
	if n, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read %d bytes, %v, want the end", n, err)
	}
}

// TestAnIdleConnectionIsClosed holds that the bound is set, and that it is the
// one that counts.
func TestAnIdleConnectionIsClosed(t *testing.T) {
	s := New(Options{Backend: &fake{phase: control.PhaseReady}, Operators: []uint32{uint32(os.Geteuid())}})
	if s.http.IdleTimeout != idleBound {
		t.Errorf("idle connections stay for %v", s.http.IdleTimeout)
	}
	s.http.IdleTimeout = 20 * time.Millisecond
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	c, resp := dial(t, socket)
	if resp.StatusCode != http.StatusOK || resp.Close {
		t.Errorf("status %d, close %v", resp.StatusCode, resp.Close)
	}
	if n, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read %d bytes, %v, want the end", n, err)
	}
	if err := errors.Join(s.Shutdown(t.Context()), <-served); err != nil {
		t.Error(err)
	}
}

// TestPsTellsIdle: what only the daemon knows is in the table.
func TestPsTellsIdle(t *testing.T) {
	h := start(t)
	h.fill(t)
	h.idle = map[string]time.Duration{h.ids["make"].String(): time.Minute}
	ps, err := h.client.Ps(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ps.Handles {
		want := p.ID == h.ids["make"].String()
		if known := p.IdleNano != nil; known != want || known && *p.IdleNano != time.Minute.Nanoseconds() {
			t.Errorf("%s is idle for %v", p.Command, p.IdleNano)
		}
	}
}

// TestMakeWay: while another daemon is about to answer, followers end in a way that
// tells them to ask again, and so does whatever is asked, but for the status.
func TestMakeWay(t *testing.T) {
	h := start(t)
	h.fill(t)
	s, err := h.client.Events(t.Context(), &control.EventsQuery{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var last error
	for e, err := range s.All() {
		last = err
		if err == nil && e.Seq == 10 {
			h.server.MakeWay()
		}
	}
	if !control.IsRestarting(last) {
		t.Errorf("the stream ended with %v", last)
	}
	// By hand: the client would ask again and again.
	conn := h.connect(t)
	if answer := ask(t, conn, "GET /v1/ps HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"); !strings.Contains(answer, `"restarting"`) {
		t.Errorf("a look: %s", answer)
	}
	if _, err := h.client.Status(t.Context()); err != nil {
		t.Errorf("the status: %v", err)
	}
}

// TestLateRequestsAreAnswered: a client that has connected before the end, and asks
// after it has begun, gets an answer and is not left without a word.
func TestLateRequestsAreAnswered(t *testing.T) {
	h := start(t)
	conn := h.connect(t)
	if _, err := h.client.Status(t.Context()); err != nil { // by then the other one is accepted, too
		t.Fatal(err)
	}
	h.server.MakeWay()
	stopped := make(chan error, 1)
	go func() { stopped <- h.server.Shutdown(context.Background()) }()
	h.server.mu.Lock()
	served := h.server.served
	h.server.mu.Unlock()
	<-served // nobody is accepted any more: the end has begun
	answer := ask(t, conn, "POST /v1/cancel HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\n\r\n{}")
	if !strings.Contains(answer, " 503 ") || !strings.Contains(answer, `"restarting"`) {
		t.Errorf("answered %q", answer)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func (h *house) connect(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", h.client.Socket())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// ask sends a request and returns all that comes back until the other side closes.
func ask(t *testing.T, conn net.Conn, request string) string {
	t.Helper()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("%v after %q", err, answer)
	}
	return string(answer)
}
