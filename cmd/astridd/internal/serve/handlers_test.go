package serve

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host/capsule"
	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/query"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

// TestTheLargestRequestsFit holds that the bound of a body lets through what
// the bounds of its fields do, escaped as badly as can be.
func TestTheLargestRequestsFit(t *testing.T) {
	h := start(t)
	var got int
	h.invoke = func(_ context.Context, _ event.Actor, in *control.Invocation) (*control.Answer, error) {
		got = len(in.Payload)
		return &control.Answer{}, nil
	}
	name := strings.Repeat("\x01", maxName)
	payload := json.RawMessage(`"` + strings.Repeat("x", capsule.MaxPayload-2) + `"`)
	in := &control.Invocation{Principal: strings.Repeat("p", 64), Capsule: name, Action: name, CallID: name, Payload: payload}
	if _, err := h.client.Invoke(t.Context(), in); err != nil || got != capsule.MaxPayload {
		t.Errorf("%d bytes arrived, %v", got, err)
	}
	c := &control.CancelRequest{Principal: "p", Capsule: name, CallIDs: slices.Repeat([]string{name}, maxCallIDs), Reason: strings.Repeat("\x01", maxReason)}
	if _, err := h.client.Cancel(t.Context(), c); err != nil {
		t.Error(err)
	}
}

func TestInvokeAndCancel(t *testing.T) {
	h := start(t)
	var got control.Invocation
	var by event.Actor
	h.invoke = func(_ context.Context, a event.Actor, in *control.Invocation) (*control.Answer, error) {
		got, by = *in, a
		data := "done"
		return &control.Answer{CallID: in.CallID, Action: "final", Data: &data}, nil
	}
	in := &control.Invocation{Principal: "alice", Capsule: "builder", Action: "tool_execute_build", Payload: json.RawMessage(`{"a": [1,  2]}`), CallID: "c1"}
	a, err := h.client.Invoke(t.Context(), in)
	if err != nil || *a.Data != "done" || a.CallID != "c1" {
		t.Fatalf("got %+v, %v", a, err)
	}
	if by != (event.Actor{Kind: event.ActorOperator, UID: uint32(os.Geteuid()), Role: "operator"}) || string(got.Payload) != `{"a":[1,2]}` {
		t.Errorf("the backend saw %+v by %+v", got, by)
	}
	c, err := h.client.Cancel(t.Context(), &control.CancelRequest{Principal: "alice", CallIDs: []string{"c1"}})
	if err != nil || c.Cancel != "c" || h.cancelled.CallIDs[0] != "c1" {
		t.Errorf("cancel: %+v, %v", c, err)
	}
}

// TestInvokeEndsWithItsCaller holds that a client that leaves is noticed.
func TestInvokeEndsWithItsCaller(t *testing.T) {
	h := start(t)
	entered, left := make(chan struct{}), make(chan struct{})
	h.invoke = func(ctx context.Context, _ event.Actor, _ *control.Invocation) (*control.Answer, error) {
		close(entered)
		<-ctx.Done()
		close(left)
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	_, err := h.client.Invoke(ctx, &control.Invocation{Principal: "alice", Capsule: "b", Action: "a"})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-left
}

// TestBadRequests holds what each mistake is answered with.
func TestBadRequests(t *testing.T) {
	h := start(t)
	h.fill(t)
	hc := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", h.client.Socket())
	}}}
	defer hc.CloseIdleConnections()
	for _, c := range []struct {
		method, path, body, version string
		status                      int
		code, text                  string
	}{
		{"GET", "/", "", "", 400, "usage", "not part of this protocol"},
		{"GET", "/v1/invoke", "", "", 400, "usage", "not part of this protocol"},
		{"GET", "/v1/status?x=1", "", "", 400, "usage", `parameter \"x\"`},
		{"GET", "/v1/status", "", "2", 426, "version", "version"},
		{"GET", "/v1/status", "", "x", 426, "version", "version"},
		{"GET", "/v1/ps?al=1", "", "", 400, "usage", `parameter \"al\"`},
		{"GET", "/v1/events?principle=a", "", "", 400, "usage", `parameter \"principle\"`},
		{"GET", "/v1/events?since=soon", "", "", 400, "usage", "since: time"},
		{"GET", "/v1/events?kind=spawn", "", "", 400, "usage", "kind"},
		{"GET", "/v1/events?outcome=won", "", "", 400, "usage", "outcome"},
		{"GET", "/v1/events?text=(", "", "", 400, "usage", "text"},
		{"GET", "/v1/events?order=up", "", "", 400, "usage", "order"},
		{"GET", "/v1/events?limit=-1", "", "", 400, "usage", "limit"},
		{"GET", "/v1/events?order=desc&follow=1", "", "", 400, "usage", "do not go together"},
		{"GET", "/v1/events?handle=0", "", "", 400, "usage", "ambiguous"},
		{"POST", "/v1/invoke", "{", "", 400, "usage", "body"},
		{"POST", "/v1/invoke", `{"princpal":"a"}`, "", 400, "usage", "princpal"},
		{"POST", "/v1/invoke", `{} {}`, "", 400, "usage", "follows"},
		{"POST", "/v1/invoke", `{"principal":"a b"}`, "", 400, "usage", "principal"},
		{"POST", "/v1/invoke", `{"principal":"a"}`, "", 400, "usage", "capsule"},
		{"POST", "/v1/invoke", `{"principal":"a","capsule":"c"}`, "", 400, "usage", "action"},
		{"POST", "/v1/invoke", `{"principal":"a","capsule":"c","action":"x","call_id":"` + strings.Repeat("x", 300) + `"}`, "", 400, "usage", "call id"},
		{"POST", "/v1/cancel", `{}`, "", 400, "usage", "principal"},
		{"POST", "/v1/cancel", `{"principal":"a","call_ids":[""]}`, "", 400, "usage", "call ids"},
		{"POST", "/v1/cancel", `{"principal":"a","call_ids":["` + strings.Repeat("x", 257) + `"]}`, "", 400, "usage", "call ids"},
		{"POST", "/v1/cancel", `{"principal":"a","call_ids":["c"` + strings.Repeat(`,"c"`, 64) + `]}`, "", 400, "usage", "call ids"},
		{"POST", "/v1/cancel", `{"principal":"a","capsule":"` + strings.Repeat("x", 257) + `"}`, "", 400, "usage", "not a name"},
		{"POST", "/v1/cancel", `{"principal":"a","reason":"` + strings.Repeat("x", 1025) + `"}`, "", 400, "usage", "reason has 1025 bytes; at most 1024"},
		{"POST", "/v1/invoke", `{"principal":"a","capsule":"` + strings.Repeat("x", 257) + `"}`, "", 400, "usage", "not a name"},
		{"POST", "/v1/invoke", `{"principal":"a","capsule":"c","action":"` + strings.Repeat("x", 257) + `"}`, "", 400, "usage", "not a name"},
		{"POST", "/v1/invoke", `{"principal":"a","capsule":"c","action":"x","payload":"` + strings.Repeat("x", maxBody) + `"}`, "", 400, "usage", "more than 1310720 bytes"},
	} {
		req, err := http.NewRequest(c.method, "http://astridd"+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if c.version != "" {
			req.Header.Set(control.VersionHeader, c.version)
		}
		resp, err := hc.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != c.status || !strings.Contains(string(b), `"code":"`+c.code+`"`) || !strings.Contains(string(b), c.text) {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, resp.StatusCode, b)
		}
	}
}

// TestErrorsOfTheRooms holds what errors from below become.
func TestErrorsOfTheRooms(t *testing.T) {
	for err, exit := range map[error]int{
		ledger.ErrCorrupt:                         10,
		ledger.ErrGap:                             11,
		ledger.ErrNotFound:                        3,
		ledger.ErrClosed:                          4,
		ledger.ErrNoSpace:                         1,
		context.Canceled:                          1,
		errors.New("anything"):                    1,
		&query.AmbiguousError{Prefix: ""}:         2,
		control.Errorf(control.CodeQuota, "full"): 6,
	} {
		if got := control.ExitCode(asControl(err)); got != exit {
			t.Errorf("%v: exit code %d, want %d", err, got, exit)
		}
	}
}

func TestUnreachable(t *testing.T) {
	c := control.NewClient(filepath.Join(t.TempDir(), "none.sock"))
	_, err := c.Status(t.Context())
	if control.ExitCode(err) != 4 || !strings.Contains(err.Error(), "is astridd running?") {
		t.Errorf("got %v", err)
	}
}

// TestStop holds what reaches the daemon, and that only whole ids and graces in
// their bounds do.
func TestStop(t *testing.T) {
	h := start(t)
	id := ulid.Make().String()
	var got *control.StopRequest
	var by event.Actor
	h.stop = func(_ context.Context, a event.Actor, r *control.StopRequest) (*control.StopAnswer, error) {
		by, got = a, r
		return &control.StopAnswer{ID: r.ID, Exit: &control.Exit{Signal: new(int32(15))}, Cause: "stop", Released: true}, nil
	}
	a, err := h.client.Stop(t.Context(), &control.StopRequest{ID: id, GraceNano: new(int64(7))})
	if err != nil || a.ID != id || *a.Exit.Signal != 15 || a.Cause != "stop" || !a.Released {
		t.Errorf("answer %+v, %v", a, err)
	}
	if got == nil || got.ID != id || *got.GraceNano != 7 || by.Kind != event.ActorOperator || by.UID != uint32(os.Geteuid()) {
		t.Errorf("the daemon got %+v by %+v", got, by)
	}
	for _, bad := range []*control.StopRequest{
		{}, {ID: id[:8]}, {ID: id, GraceNano: new(int64(-1))}, {ID: id, GraceNano: new(mostGrace.Nanoseconds() + 1)},
	} {
		var ce *control.Error
		if _, err := h.client.Stop(t.Context(), bad); !errors.As(err, &ce) || ce.Code != control.CodeUsage {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
