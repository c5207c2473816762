package host

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/astrid-os/processledger/host/ipc"
	"github.com/astrid-os/processledger/ledger/event"
)

// hears subscribes to everything, on behalf of a principal.
func (w *world) hears(principal string) *listener {
	w.t.Helper()
	s, err := w.bus.SubscribeFor("test of "+principal, principal, "astrid.process.v1.*")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(s.Close)
	return &listener{w, s, nil}
}

type listener struct {
	w    *world
	s    *ipc.Subscription
	held []ipc.Message
}

// next returns the next message as "event.suffix {payload}", and fails the test
// if there is none in time.
func (l *listener) next() (topic string, payload map[string]any) {
	l.w.t.Helper()
	for len(l.held) == 0 {
		e, err := l.s.Recv(l.w.t.Context(), 20*time.Second)
		if err != nil || len(e.Messages) == 0 {
			l.w.t.Fatalf("nothing is published: %v", err)
		}
		l.held = e.Messages
	}
	m := l.held[0]
	l.held = l.held[1:]
	if m.SourceID != ipc.SourceID("builder") || m.Principal != (ipc.Principal{Kind: ipc.Verified, Name: "alice"}) {
		l.w.t.Errorf("published as %+v by %s", m.Principal, m.SourceID)
	}
	if err := json.Unmarshal(m.Payload, &payload); err != nil {
		l.w.t.Fatalf("%s: %v", m.Payload, err)
	}
	return strings.TrimPrefix(m.Topic, "astrid.process.v1."), payload
}

// silent fails the test if anything is there. Whoever calls it has waited for
// something that would have come after it.
func (l *listener) silent(when string) {
	l.w.t.Helper()
	if got := append(l.held, l.s.Poll().Messages...); len(got) > 0 {
		l.w.t.Errorf("%s: %s %s", when, got[0].Topic, got[0].Payload)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hers, his := w.hears("alice"), w.hears("bob")
	say := func(n string) string {
		return `until test -e "$WITNESS/` + n + `"; do sleep 0.01; done; echo ` + n + `; `
	}
	id, r := w.keep(alice, say("one")+say("two")+say("three")+"exit 3", func(r *Request) { r.Label = ptr("server") })
	w.began(r)
	if err := w.host.WatchProcess(t.Context(), alice, id, ptr("mine.x")); err != nil {
		t.Fatal(err)
	}
	before := w.live.Snapshot().Seq()
	if err := w.host.WatchProcess(t.Context(), alice, id, ptr("mine.x")); err != nil {
		t.Error(err)
	}
	if after := w.live.Snapshot().Seq(); after != before {
		t.Error("the same watch was recorded twice")
	}
	logReady := func() {
		t.Helper()
		if topic, p := hers.next(); topic != "log-ready.mine.x" || p["id"] != id || p["label"] != "server" {
			t.Errorf("%s %v", topic, p)
		}
	}
	touch(t, w.witness+"/one")
	logReady()
	// Until somebody reads, more output is no news.
	touch(t, w.witness+"/two")
	w.until("two is written", func() bool { i, _ := w.host.ProcessStatus(t.Context(), alice, id); return i.Buffered == 8 })
	hers.silent("before a read")
	// A read that leaves something is told of the rest at once.
	if chunk, err := w.host.ReadSince(t.Context(), alice, id, Stdout, nil, 4); err != nil || string(chunk.Data) != "one\n" {
		t.Errorf("%q, %v", chunk.Data, err)
	}
	logReady()
	if logs, err := w.host.ReadProcessLogs(t.Context(), alice, id); err != nil || string(logs.Stdout) != "one\ntwo\n" {
		t.Errorf("%q, %v", logs.Stdout, err)
	}
	touch(t, w.witness+"/three")
	logReady()
	topic, p := hers.next()
	exit, _ := p["exit"].(map[string]any)
	if topic != "exited.mine.x" || p["cause"] != "self-exit" || exit["exit_code"] != 3.0 || exit["signal"] != nil || p["id"] != id {
		t.Errorf("%s %v", topic, p)
	}
	if h := w.kept(alice, id); !h.over() {
		t.Error("published before it was durable")
	}
	his.silent("to another principal")
	// A watch of what has ended tells so at once.
	if err := w.host.WatchProcess(t.Context(), alice, id, nil); err != nil {
		t.Error(err)
	}
	if topic, _ := hers.next(); topic != "log-ready."+id {
		t.Errorf("%s, want what is left of the output", topic)
	}
	if topic, p := hers.next(); topic != "exited."+id || p["cause"] != "self-exit" {
		t.Errorf("%s %v", topic, p)
	}
	if err := w.host.ReleaseProcess(t.Context(), alice, id); err != nil {
		t.Error(err)
	}
	hers.silent("after the release")
}

func TestWatchSuffixes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, _ := w.keep(alice, stays)
	for _, bad := range []string{"", "UPPER", "a b", "a..b", "*", "a.*", "a.b.c.d.e", strings.Repeat("a", 256)} {
		if err := w.host.WatchProcess(t.Context(), alice, id, &bad); CodeOf(err) != InvalidInput {
			t.Errorf("suffix %q: %v", bad, err)
		}
	}
	for _, good := range []string{"a", "a.b.c.d", "a-b_c.0"} {
		if err := w.host.WatchProcess(t.Context(), alice, id, &good); err != nil {
			t.Errorf("suffix %q: %v", good, err)
		}
	}
}

// TestUnwatch holds that nothing is published after it, that it is idempotent,
// and that a process that nobody watches is quiet.
func TestUnwatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hers := w.hears("alice")
	id, r := w.keep(alice, "echo x; "+stays)
	w.began(r)
	if err := w.host.UnwatchProcess(t.Context(), alice, id); err != nil {
		t.Error(err)
	}
	if err := w.host.WatchProcess(t.Context(), alice, id, nil); err != nil {
		t.Fatal(err)
	}
	if topic, _ := hers.next(); topic != "log-ready."+id {
		t.Error(topic)
	}
	for range 2 {
		if err := w.host.UnwatchProcess(t.Context(), alice, id); err != nil {
			t.Error(err)
		}
	}
	if _, err := w.host.StopProcess(t.Context(), alice, id, ptr(time.Duration(0))); err != nil {
		t.Error(err)
	}
	hers.silent("after unwatch")
	kinds := map[event.Kind]int{}
	for _, e := range w.events(1) {
		kinds[e.Kind()]++
	}
	if kinds[event.KindWatchArmed] != 1 || kinds[event.KindWatchDisarmed] != 1 {
		t.Errorf("%d armed, %d disarmed", kinds[event.KindWatchArmed], kinds[event.KindWatchDisarmed])
	}
}

// TestWatchTellsTheCause has processes end in each way.
func TestWatchTellsTheCause(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hers := w.hears("alice")
	cases := map[string]struct {
		change func(*Request)
		end    func(id string)
	}{
		"killed": {func(*Request) {}, func(id string) {
			if _, err := w.host.StopProcess(t.Context(), alice, id, nil); err != nil {
				t.Error(err)
			}
		}},
		"killed by a signal": {func(*Request) {}, func(id string) {
			if err := w.host.SignalProcess(t.Context(), alice, id, SigTerm); err != nil {
				t.Error(err)
			}
		}},
		"reaped-ttl":         {func(r *Request) { r.MaxLifetimeMS = ptr(uint64(200)) }, func(string) {}},
		"reaped-ttl by idle": {func(r *Request) { r.IdleTimeoutMS = ptr(uint64(200)) }, func(string) {}},
		"killed with its shim": {func(*Request) {}, func(string) {
			w.killShim(w.only())
		}},
	}
	for name, c := range cases {
		id, _ := w.keep(alice, "sleep 30", c.change)
		if err := w.host.WatchProcess(t.Context(), alice, id, nil); err != nil {
			t.Fatal(err)
		}
		c.end(id)
		topic, p := hers.next()
		want, _, _ := strings.Cut(name, " ")
		if topic != "exited."+id || p["cause"] != want || (p["exit"] == nil) != (name == "killed with its shim") {
			t.Errorf("%s: %s %v", name, topic, p)
		}
		w.stopKept(t.Context())
	}
}

// TestStdinDrainedIsPublished has a program read late.
func TestStdinDrainedIsPublished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hers := w.hears("alice")
	id, r := w.keep(alice, `until test -e "$WITNESS/read"; do sleep 0.01; done; wc -c`, func(r *Request) { r.KeepStdinOpen = ptr(true) })
	w.began(r)
	if err := w.host.WatchProcess(t.Context(), alice, id, ptr("s")); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() {
		n, err := w.host.WriteProcessStdin(context.Background(), alice, id, make([]byte, 1<<20))
		if err == nil && n != 1<<20 {
			t.Errorf("%d bytes were written", n)
		}
		written <- err
	}()
	touch(t, w.witness+"/read")
	if err := within(t, 20*time.Second, "the write is through", written); err != nil {
		t.Error(err)
	}
	if topic, p := hers.next(); topic != "stdin-drained.s" || p["id"] != id {
		t.Errorf("%s %v", topic, p)
	}
	if err := w.host.CloseProcessStdin(t.Context(), alice, id); err != nil {
		t.Error(err)
	}
	if topic, _ := hers.next(); topic != "log-ready.s" {
		t.Error(topic)
	}
	if topic, _ := hers.next(); topic != "exited.s" {
		t.Error(topic)
	}
}

// TestWatchSurvivesARestart has the daemon die under an armed watch.
func TestWatchSurvivesARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, r := w.keep(alice, `until test -e "$WITNESS/go"; do sleep 0.01; done; exit 2`)
	w.began(r)
	if err := w.host.WatchProcess(t.Context(), alice, id, ptr("again")); err != nil {
		t.Fatal(err)
	}
	w.abandon()
	w.open()
	hers := w.hears("alice")
	touch(t, w.witness+"/go")
	if topic, p := hers.next(); topic != "exited.again" || p["id"] != id || p["cause"] != "self-exit" {
		t.Errorf("%s %v", topic, p)
	}
}
