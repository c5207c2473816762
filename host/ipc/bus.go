package ipc

import (
	"encoding/json"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// MaxPayload is the most bytes of a message's payload, from the contract.
const MaxPayload = 1 << 20

// PrincipalKind says what a message's principal rests on; the numbers are the
// contract's discriminants.
type PrincipalKind uint8

// The kinds, in the contract's order.
const (
	Verified PrincipalKind = 0 // the host knows it from the invocation
	Claimed  PrincipalKind = 1 // the publisher says so
	System   PrincipalKind = 2 // the host itself; there is no name
)

// Principal is on whose behalf a message was published.
type Principal struct {
	Kind PrincipalKind
	Name string
}

// Message is what is published. Its bytes are shared by all who get it and must
// not be changed.
type Message struct {
	Topic   string
	Payload []byte // JSON

	// SourceID is the publishing capsule's, see the function [SourceID]; empty
	// if the host itself speaks for nobody.
	SourceID  string
	Principal Principal

	// Hops is how many messages led to this one, each by way of the handler
	// that published the next. Guests do not see it.
	Hops uint8
}

func (m *Message) size() int { return len(m.Topic) + len(m.Payload) }

// Options say how a bus works. The zero value is good.
type Options struct {
	// Now is the clock of the allowances; nil means time.Now.
	Now func() time.Time
}

// Bus carries messages. It is safe for concurrent use; nothing in it blocks but
// [Subscription.Recv].
type Bus struct {
	now func() time.Time

	// mu guards all of the bus and of its subscriptions. It is held while one
	// message is put into the queues that it goes to, and never while anybody
	// waits. Under one lock all subscribers see the messages in one order.
	mu         sync.Mutex
	closed     bool
	subs       map[string]map[*Subscription]struct{} // by pattern
	owners     map[string]*owner
	allowances map[sourceKey]*allowance
}

// New returns an empty bus.
func New(o Options) *Bus {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Bus{
		now: o.Now, subs: map[string]map[*Subscription]struct{}{},
		owners: map[string]*owner{}, allowances: map[sourceKey]*allowance{},
	}
}

// Publish hands a capsule's message to everybody who is subscribed to its topic
// now. It does not wait for any of them. The errors are invalid-input
// (the topic, or a payload that is no JSON or too long), capability-denied (a
// topic that only the host publishes on), rate-limited and closed.
func (b *Bus) Publish(m Message) error {
	if err := valid(&m); err != nil {
		return err
	}
	if strings.HasPrefix(m.Topic, WatchPrefix) {
		return &Error{Code: CapabilityDenied, Detail: "only the host publishes on " + WatchPrefix + "*"}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed && !b.spend(&m) {
		return &Error{Code: RateLimited}
	}
	return b.deliver(&m)
}

// Announce is Publish for what the host has to say: it may be on any topic, and
// no allowance is asked for, since how much there is of it is bounded by what
// it tells of.
func (b *Bus) Announce(m Message) error {
	if err := valid(&m); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.deliver(&m)
}

func valid(m *Message) error {
	if err := ValidTopic(m.Topic); err != nil {
		return err
	}
	if len(m.Payload) > MaxPayload {
		return invalid("the payload has %d bytes, at most %d are taken", len(m.Payload), MaxPayload)
	}
	if !utf8.Valid(m.Payload) || !json.Valid(m.Payload) {
		return invalid("the payload is no JSON")
	}
	return nil
}

// deliver puts a message into the queues of those it goes to. The caller holds
// b.mu.
func (b *Bus) deliver(m *Message) error {
	if b.closed {
		return &Error{Code: Closed}
	}
	patternsOf(m.Topic, func(pattern string) {
		for s := range b.subs[pattern] {
			if s.mayRead(m) {
				s.push(m)
			}
		}
	})
	return nil
}

// Listeners tells how many subscriptions a message on the topic would go to now.
func (b *Bus) Listeners(topic string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	patternsOf(topic, func(pattern string) { n += len(b.subs[pattern]) })
	return n
}

// Close ends the bus: every subscription is closed, and nothing is published
// any more.
func (b *Bus) Close() {
	b.mu.Lock()
	var all []*Subscription
	for _, subs := range b.subs {
		for s := range subs {
			all = append(all, s)
		}
	}
	b.closed = true
	b.mu.Unlock()
	for _, s := range all {
		s.Close()
	}
}
