package ipc_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/astrid-os/processledger/host/ipc"
	"github.com/astrid-os/processledger/host/poll"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func note(topic, payload string) ipc.Message {
	return ipc.Message{Topic: topic, Payload: []byte(payload), SourceID: ipc.SourceID("tools"), Principal: ipc.Principal{Name: "alice"}}
}

func subscribe(t testing.TB, b *ipc.Bus, owner, pattern string) *ipc.Subscription {
	t.Helper()
	s, err := b.Subscribe(owner, pattern)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func publish(t testing.TB, b *ipc.Bus, m ipc.Message) {
	t.Helper()
	if err := b.Publish(m); err != nil {
		t.Fatal(err)
	}
}

func code(t *testing.T, what string, err error, want ipc.Code) {
	t.Helper()
	var e *ipc.Error
	if !errors.As(err, &e) || e.Code != want {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
}

func TestDelivery(t *testing.T) {
	b := ipc.New(ipc.Options{})
	all, some, other := subscribe(t, b, "a", "*"), subscribe(t, b, "b", "x.*"), subscribe(t, b, "c", "y")
	publish(t, b, note("x.one", `{"n":1}`))
	publish(t, b, note("x.two.three", `2`))
	publish(t, b, note("x", `3`))
	if e := all.Poll(); len(e.Messages) != 3 || e.Messages[0].Topic != "x.one" || string(e.Messages[1].Payload) != "2" || e.Dropped+e.Lagged != 0 {
		t.Errorf("all: %v", e)
	}
	if e := some.Poll(); len(e.Messages) != 2 || e.Messages[0].Principal.Name != "alice" || e.Messages[1].SourceID != ipc.SourceID("tools") {
		t.Errorf("some: %v", e)
	}
	if e := other.Poll(); len(e.Messages) != 0 {
		t.Errorf("other: %v", e)
	}
	if e := all.Poll(); len(e.Messages) != 0 {
		t.Errorf("read twice: %v", e)
	}
	some.Close()
	some.Close()
	publish(t, b, note("x.one", `4`))
	if e := some.Poll(); len(e.Messages) != 0 {
		t.Errorf("after Close: %v", e)
	}
}

func TestRefusals(t *testing.T) {
	b := ipc.New(ipc.Options{})
	code(t, "topic", b.Publish(note("X", "1")), ipc.InvalidInput)
	for _, payload := range []string{"", "{", "1 2", "\"\xff\"", `"` + strings.Repeat("x", ipc.MaxPayload-1) + `"`} {
		code(t, fmt.Sprintf("payload %.20q", payload), b.Publish(note("x", payload)), ipc.InvalidInput)
	}
	publish(t, b, note("x", `"`+strings.Repeat("x", ipc.MaxPayload-2)+`"`))
	code(t, "a process's topic", b.Publish(note("astrid.process.v1.exited.x", "1")), ipc.CapabilityDenied)
	if err := b.Announce(note("astrid.process.v1.exited.x", "1")); err != nil {
		t.Error(err)
	}
	_, err := b.Subscribe("a", "x.*.y")
	code(t, "pattern", err, ipc.InvalidInput)
	s := subscribe(t, b, "a", "x")
	b.Close()
	code(t, "publish after Close", b.Publish(note("x", "1")), ipc.Closed)
	_, err = b.Subscribe("a", "x")
	code(t, "subscribe after Close", err, ipc.Closed)
	_, err = s.Recv(t.Context(), time.Minute)
	code(t, "recv after Close", err, ipc.Closed)
	if !s.Ready() {
		t.Error("who waits for a closed subscription waits for ever")
	}
}

// TestSubscriptionQuota: 128 an owner; one given back can be taken again.
func TestSubscriptionQuota(t *testing.T) {
	b := ipc.New(ipc.Options{})
	var last *ipc.Subscription
	for range ipc.MaxSubscriptions {
		last = subscribe(t, b, "a", "x")
	}
	_, err := b.Subscribe("a", "y")
	code(t, "the 129th", err, ipc.Quota)
	subscribe(t, b, "b", "y")
	last.Close()
	subscribe(t, b, "a", "y")
}

// TestSlowSubscriber: who does not read loses the oldest, and is told exactly
// how many, once and in all.
func TestSlowSubscriber(t *testing.T) {
	b := ipc.New(ipc.Options{})
	s := subscribe(t, b, "a", "x")
	for i := range ipc.QueueMessages + 10 {
		if err := b.Announce(note("x", strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	e := s.Poll()
	if len(e.Messages) != ipc.QueueMessages || string(e.Messages[0].Payload) != "10" || e.Dropped != 10 || e.Lagged != 10 {
		t.Errorf("%d messages from %s, dropped %d, lagged %d", len(e.Messages), e.Messages[0].Payload, e.Dropped, e.Lagged)
	}
	big := `"` + strings.Repeat("x", ipc.MaxPayload-2) + `"`
	for range 6 {
		if err := b.Announce(note("x", big)); err != nil {
			t.Fatal(err)
		}
	}
	if e := s.Poll(); len(e.Messages) != 3 || e.Dropped != 3 || e.Lagged != 13 {
		t.Errorf("%d messages, dropped %d, lagged %d", len(e.Messages), e.Dropped, e.Lagged)
	}
	if e := s.Poll(); e.Dropped != 0 || e.Lagged != 13 {
		t.Errorf("dropped %d, lagged %d", e.Dropped, e.Lagged)
	}
}

// TestOwnerBytes: an owner with many subscriptions holds no more memory for it,
// and what it reads or closes is room again.
func TestOwnerBytes(t *testing.T) {
	b := ipc.New(ipc.Options{})
	big := `"` + strings.Repeat("x", ipc.MaxPayload-100) + `"`
	var subs []*ipc.Subscription
	for i := range 20 {
		subs = append(subs, subscribe(t, b, "a", "x"+strconv.Itoa(i)))
		if err := b.Announce(note("x"+strconv.Itoa(i), big)); err != nil {
			t.Fatal(err)
		}
	}
	held := 0
	for _, s := range subs {
		if s.Ready() {
			held++
		}
	}
	if held != ipc.OwnerBytes/ipc.MaxPayload {
		t.Errorf("%d messages are held", held)
	}
	if e := subs[19].Poll(); len(e.Messages) != 0 || e.Dropped != 1 {
		t.Errorf("the last has %d messages, dropped %d", len(e.Messages), e.Dropped)
	}
	subs[0].Poll()
	subs[1].Close()
	for range 2 {
		if err := b.Announce(note("x19", big)); err != nil {
			t.Fatal(err)
		}
	}
	if e := subs[19].Poll(); len(e.Messages) != 2 {
		t.Errorf("%d messages after room was made, dropped %d", len(e.Messages), e.Dropped)
	}
}

func TestAllowance(t *testing.T) {
	now := time.Unix(1000, 0)
	b := ipc.New(ipc.Options{Now: func() time.Time { return now }})
	for range ipc.MessageBurst {
		publish(t, b, note("x", "1"))
	}
	code(t, "beyond the burst", b.Publish(note("x", "1")), ipc.RateLimited)
	other := note("x", "1")
	other.Principal.Name = "bob"
	publish(t, b, other)
	if err := b.Announce(note("x", "1")); err != nil {
		t.Error(err)
	}
	now = now.Add(10 * time.Millisecond)
	for range ipc.MessagesPerSecond / 100 {
		publish(t, b, note("x", "1"))
	}
	code(t, "beyond the rate", b.Publish(note("x", "1")), ipc.RateLimited)
	now = now.Add(time.Hour)
	big := `"` + strings.Repeat("x", ipc.MaxPayload-200) + `"`
	for range ipc.ByteBurst / ipc.MaxPayload {
		publish(t, b, note("x", big))
	}
	code(t, "beyond the bytes", b.Publish(note("x", big)), ipc.RateLimited)
	// Many sources that come and go are forgotten and lose nothing.
	for i := range 5000 {
		now = now.Add(time.Second)
		m := note("x", "1")
		m.Principal.Name = "p" + strconv.Itoa(i)
		publish(t, b, m)
	}
}

// TestClaimsShareAnAllowance: a capsule that publishes each message under another
// name gets no more said than one that keeps to one.
func TestClaimsShareAnAllowance(t *testing.T) {
	now := time.Unix(1000, 0)
	b := ipc.New(ipc.Options{Now: func() time.Time { return now }})
	claim := func(n int) error {
		m := note("x", "1")
		m.Principal = ipc.Principal{Kind: ipc.Claimed, Name: "p" + strconv.Itoa(n)}
		return b.Publish(m)
	}
	for n := range ipc.MessageBurst {
		if err := claim(n); err != nil {
			t.Fatal(err)
		}
	}
	code(t, "beyond the burst, under another name", claim(-1), ipc.RateLimited)
	own := note("x", "1")
	own.Principal.Name = "p1"
	publish(t, b, own) // who is really that principal has its own
}

func TestWatchTopicsArePrivate(t *testing.T) {
	b := ipc.New(ipc.Options{})
	mine, err1 := b.SubscribeFor("a", "alice", "*")
	theirs, err2 := b.SubscribeFor("b", "bob", "*")
	operator, err3 := b.Subscribe("o", "*")
	if err := errors.Join(err1, err2, err3, b.Announce(note("astrid.process.v1.exited.x", "1")), b.Publish(note("y", "2"))); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		s    *ipc.Subscription
		want int
	}{"the creator": {mine, 2}, "another": {theirs, 1}, "the operator": {operator, 2}} {
		if n := len(c.s.Poll().Messages); n != c.want {
			t.Errorf("%s has %d messages, want %d", name, n, c.want)
		}
	}
}

func TestRecv(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := ipc.New(ipc.Options{})
		s := subscribe(t, b, "a", "x")
		began := time.Now()
		if e, err := s.Recv(t.Context(), time.Hour); err != nil || len(e.Messages) != 0 || time.Since(began) != ipc.MaxRecv {
			t.Errorf("on timeout: %v, %v after %v", e, err, time.Since(began))
		}
		if e, err := s.Recv(t.Context(), 0); err != nil || len(e.Messages) != 0 {
			t.Errorf("without waiting: %v, %v", e, err)
		}
		go func() {
			time.Sleep(time.Second)
			_ = b.Publish(note("x", "1"))
		}()
		began = time.Now()
		if e, err := s.Recv(t.Context(), time.Minute); err != nil || len(e.Messages) != 1 || time.Since(began) != time.Second {
			t.Errorf("%v, %v after %v", e, err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.Recv(ctx, time.Minute)
		code(t, "cancelled", err, ipc.Unknown)
		time.AfterFunc(time.Second, s.Close)
		_, err = s.Recv(t.Context(), time.Minute)
		code(t, "closed meanwhile", err, ipc.Closed)
	})
}

// TestHammer: publishers, readers and those who come and go, all at once; every
// reader sees each publisher's messages in order, and none is unaccounted for.
func TestHammer(t *testing.T) {
	b := ipc.New(ipc.Options{})
	const publishers, each = 4, 2000
	readers := []*ipc.Subscription{subscribe(t, b, "a", "x.*"), subscribe(t, b, "b", "*")}
	ctx, cancel := context.WithCancel(t.Context())
	var reading, publishing sync.WaitGroup
	for _, s := range readers {
		reading.Go(func() { account(t, ctx, s, publishers*each) })
	}
	for p := range publishers {
		publishing.Go(func() {
			for i := range each {
				m := note("x.p"+strconv.Itoa(p), strconv.Itoa(i))
				if err := b.Announce(m); err != nil {
					t.Error(err)
				}
			}
		})
		publishing.Go(func() {
			for range 200 {
				s, err := b.Subscribe("c"+strconv.Itoa(p), "x.*")
				if err != nil {
					t.Error(err)
					return
				}
				s.Poll()
				s.Close()
			}
		})
	}
	publishing.Wait()
	reading.Wait()
	cancel()
}

func account(t *testing.T, ctx context.Context, s *ipc.Subscription, want int) {
	last, got, lagged := map[string]int{}, 0, uint64(0)
	for got+int(lagged) < want {
		if _, err := poll.Wait(ctx, s); err != nil {
			t.Error(err)
			return
		}
		e := s.Poll()
		lagged = e.Lagged
		for _, m := range e.Messages {
			n, _ := strconv.Atoi(string(m.Payload))
			if before, ok := last[m.Topic]; ok && n <= before {
				t.Errorf("%s: %d after %d", m.Topic, n, before)
			}
			last[m.Topic] = n
			got++
		}
	}
	if got+int(lagged) != want {
		t.Errorf("%d read and %d lost of %d", got, lagged, want)
	}
}

func TestSourceID(t *testing.T) {
	for name, want := range map[string]string{"": "", "kit": "bd26b43c-2855-586c-98ef-282da4d474b4"} {
		if got := ipc.SourceID(name); got != want {
			t.Errorf("%q has %q, want %q; these ids may never change", name, got, want)
		}
	}
}

func BenchmarkPublish(b *testing.B) {
	bus := ipc.New(ipc.Options{})
	s := subscribe(b, bus, "a", "x.*")
	for b.Loop() {
		if err := bus.Announce(note("x.y", `{"type":"tool_execute_result"}`)); err != nil {
			b.Fatal(err)
		}
		s.Poll()
	}
}
