package ipc

import (
	"context"
	"strings"
	"time"

	"github.com/astrid-os/processledger/host/poll"
)

// Bounds of subscriptions.
const (
	// MaxSubscriptions is how many one owner may have, from the contract.
	MaxSubscriptions = 128

	// MaxRecv is the longest that Recv waits, from the contract.
	MaxRecv = 60 * time.Second

	// QueueMessages and QueueBytes bound what waits in one subscription, and
	// OwnerBytes what waits in all of an owner's together. A message of the
	// largest size always finds room in the first two.
	QueueMessages = 1024
	QueueBytes    = 4 << 20
	OwnerBytes    = 16 << 20
)

// owner is what the subscriptions of one owner have in common.
type owner struct{ subscriptions, bytes int }

// Envelope is what a subscription had for its reader.
type Envelope struct {
	Messages []Message // in the order in which they were published

	// Dropped is how many messages were lost since the envelope before, and
	// Lagged how many in the whole life of the subscription.
	Dropped, Lagged uint64
}

// Subscription gets the messages of one pattern. It is a [poll.Source], ready
// while there is a message to read or the subscription is closed. It is safe
// for concurrent use.
type Subscription struct {
	notifier poll.Notifier

	bus            *Bus
	owner, pattern string
	principal      string // whose messages about processes it may read; empty: everybody's

	// The rest is guarded by bus.mu.
	queue           []Message
	bytes           int // of the queue
	dropped, lagged uint64
	closed          bool
}

var _ poll.Source = (*Subscription)(nil)

// Subscribe returns a subscription to all topics that fall under a pattern, for
// messages published from now on. The owner is an instance of a capsule, or
// some other name that is counted by itself. It sees messages of every
// principal. The errors are invalid-input, quota and closed. Close it.
func (b *Bus) Subscribe(owner, pattern string) (*Subscription, error) {
	return b.SubscribeFor(owner, "", pattern)
}

// SubscribeFor is Subscribe on behalf of a principal: of what the host tells
// about processes (below [WatchPrefix]), only what concerns that principal's is
// delivered, since the topic may hold a process id.
func (b *Bus) SubscribeFor(own, principal, pattern string) (*Subscription, error) {
	if err := ValidPattern(pattern); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, &Error{Code: Closed}
	}
	o := b.owners[own]
	if o == nil {
		o = &owner{}
		b.owners[own] = o
	}
	if o.subscriptions >= MaxSubscriptions {
		return nil, &Error{Code: Quota}
	}
	o.subscriptions++
	s := &Subscription{bus: b, owner: own, pattern: pattern, principal: principal}
	if b.subs[pattern] == nil {
		b.subs[pattern] = map[*Subscription]struct{}{}
	}
	b.subs[pattern][s] = struct{}{}
	return s, nil
}

// mayRead tells whether a message is for this subscriber's eyes.
func (s *Subscription) mayRead(m *Message) bool {
	return s.principal == "" || s.principal == m.Principal.Name || !strings.HasPrefix(m.Topic, WatchPrefix)
}

// push puts a message into the queue. It makes room by dropping the oldest; if
// the owner's other subscriptions leave none, the message itself is lost. The
// caller holds bus.mu.
func (s *Subscription) push(m *Message) {
	o := s.bus.owners[s.owner]
	for len(s.queue) > 0 && (len(s.queue) >= QueueMessages || s.bytes+m.size() > QueueBytes || o.bytes+m.size() > OwnerBytes) {
		s.pop(o)
		s.lose()
	}
	if o.bytes+m.size() > OwnerBytes {
		s.lose()
		return
	}
	s.queue = append(s.queue, *m)
	s.bytes += m.size()
	o.bytes += m.size()
	s.notifier.Notify()
}

func (s *Subscription) pop(o *owner) {
	n := s.queue[0].size()
	s.queue[0] = Message{} // let go of its bytes
	s.queue = s.queue[1:]
	s.bytes -= n
	o.bytes -= n
}

func (s *Subscription) lose() {
	s.dropped++
	s.lagged++
}

// Poll returns what has come since the last time, which may be nothing. It does
// not block. After Close it returns what was left.
func (s *Subscription) Poll() Envelope {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	e := Envelope{Messages: s.queue, Dropped: s.dropped, Lagged: s.lagged}
	if o := s.bus.owners[s.owner]; o != nil {
		o.bytes -= s.bytes
	}
	s.queue, s.bytes, s.dropped = nil, 0, 0
	return e
}

// Recv blocks until there is a message, or d has passed (at most [MaxRecv]);
// then the envelope is empty. It returns closed after Close, and unknown if ctx
// ends first.
func (s *Subscription) Recv(ctx context.Context, d time.Duration) (Envelope, error) {
	timed, cancel := context.WithTimeout(ctx, min(max(0, d), MaxRecv))
	defer cancel()
	_, err := poll.Wait(timed, s)
	if err != nil && ctx.Err() != nil {
		return Envelope{}, &Error{Code: Unknown, Detail: "cancelled"}
	}
	e := s.Poll()
	if len(e.Messages) == 0 && s.Closed() {
		return Envelope{}, &Error{Code: Closed}
	}
	return e, nil
}

// Ready implements [poll.Source].
func (s *Subscription) Ready() bool {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	return s.closed || len(s.queue) > 0
}

// Watch implements [poll.Source].
func (s *Subscription) Watch(wake chan<- struct{}) (stop func()) { return s.notifier.Watch(wake) }

// Closed tells whether it was closed, or the bus was; what came before can still
// be read.
func (s *Subscription) Closed() bool {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	return s.closed
}

// Close ends the subscription and wakes who waits for it. It is idempotent.
func (s *Subscription) Close() {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	delete(s.bus.subs[s.pattern], s)
	if len(s.bus.subs[s.pattern]) == 0 {
		delete(s.bus.subs, s.pattern)
	}
	// What is left to be read counts no longer: it is one queue at most, of
	// somebody who is about to let go of it.
	o := s.bus.owners[s.owner]
	o.bytes -= s.bytes
	s.bytes = 0
	if o.subscriptions--; o.subscriptions == 0 {
		delete(s.bus.owners, s.owner)
	}
	s.notifier.Notify()
}
