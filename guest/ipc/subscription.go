package ipc

import (
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/astrid-os/processledger/guest/internal/mem"
	"github.com/astrid-os/processledger/guest/poll"
)

// Attribution tells how far the name of a message's principal can be trusted.
type Attribution uint8

// The attributions, in the contract's order.
const (
	Verified Attribution = iota // the host knows that it was published for this principal
	Claimed                     // the publishing capsule says so
	System                      // the host itself; there is no name
)

// Principal is on whose behalf a message was published.
type Principal struct {
	Attribution Attribution
	Name        string
}

// Message is a message as it was received.
type Message struct {
	Topic     string
	Payload   []byte // JSON
	SourceID  string // who published it
	Principal Principal
}

// Decode reads the payload into v, as json.Unmarshal does.
func (m Message) Decode(v any) error {
	if err := json.Unmarshal(m.Payload, v); err != nil {
		return fmt.Errorf("ipc: payload on %s: %w", m.Topic, err)
	}
	return nil
}

// Envelope is what was received at once.
type Envelope struct {
	Messages []Message

	// Dropped is how many messages this subscription has lost since the
	// envelope before because it was too slow, Lagged how many in all.
	Dropped, Lagged uint64
}

// Subscription receives what is published on the topics of a pattern.
type Subscription struct{ index uint32 }

// Subscribe begins to receive. The pattern is a topic, or one that ends in *.
func Subscribe(pattern string) (*Subscription, error) {
	if err := valid(pattern); err != nil {
		return nil, err
	}
	v, err := call(16, 4, func(ret uint32) { rawSubscribe(pattern, ret) })
	if err != nil {
		return nil, err
	}
	return &Subscription{index: v.U32(4)}, nil
}

// MaxRecv is how long the host waits in one call; [Subscription.Recv] makes
// several.
const MaxRecv = 60 * time.Second

// Poll returns what has come, perhaps nothing. It does not block.
func (s *Subscription) Poll() (Envelope, error) {
	return s.receive(func(ret uint32) { rawPoll(s.index, ret) })
}

// Recv is Poll, but waits up to d, of which whole milliseconds count, until
// something comes. If nothing did the envelope is empty, without an error.
func (s *Subscription) Recv(d time.Duration) (Envelope, error) {
	for {
		part := min(max(d, 0), MaxRecv)
		ms := uint64((part + time.Millisecond - 1) / time.Millisecond)
		e, err := s.receive(func(ret uint32) { rawRecv(s.index, ms, ret) })
		if d -= part; err != nil || len(e.Messages) > 0 || d <= 0 {
			return e, err
		}
	}
}

// Messages receives one message after another until the loop is left, or until
// an error, which is the last element. An envelope that tells of lost messages
// is told as [ErrLost], after which the loop may go on.
func (s *Subscription) Messages() iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for {
			e, err := s.Recv(MaxRecv)
			if err != nil {
				yield(Message{}, err)
				return
			}
			if e.Dropped > 0 && !yield(Message{}, ErrLost) {
				return
			}
			for _, m := range e.Messages {
				if !yield(m, nil) {
					return
				}
			}
		}
	}
}

// SubscribeReadiness returns a pollable that is ready while messages wait.
func (s *Subscription) SubscribeReadiness() (*poll.Pollable, error) {
	if !mem.Inside {
		return nil, ErrOutside
	}
	if s.index == 0 {
		return nil, ErrClosed
	}
	var index uint32
	mem.Enter(func() { index = rawReadiness(s.index) })
	return poll.Own(index), nil
}

// Drop ends the subscription; a second Drop does nothing.
func (s *Subscription) Drop() {
	if mem.Inside && s.index != 0 {
		mem.Enter(func() { rawDrop(s.index) })
		s.index = 0
	}
}

// receive calls poll or recv.
func (s *Subscription) receive(raw func(ret uint32)) (Envelope, error) {
	if mem.Inside && s.index == 0 {
		return Envelope{}, ErrClosed
	}
	v, err := call(32, 8, raw)
	if err != nil {
		return Envelope{}, err
	}
	return liftEnvelope(v, 8), nil
}

func liftEnvelope(v mem.View, at uint32) Envelope {
	e := Envelope{Dropped: v.U64(at + 8), Lagged: v.U64(at + 16)}
	for _, m := range v.List(at, 36) {
		e.Messages = append(e.Messages, liftMessage(m))
	}
	return e
}

func liftMessage(v mem.View) Message {
	m := Message{Topic: v.Text(0), Payload: v.Bytes(8), SourceID: v.Text(16)}
	m.Principal.Attribution = Attribution(v.U8(24))
	if m.Principal.Attribution != System {
		m.Principal.Name = v.Text(28)
	}
	return m
}
