package capsule

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host/ipc"
	"github.com/astrid-os/processledger/host/poll"
)

// Bounds of routing.
const (
	// MaxHops is how many messages may lead from one to another by way of
	// handlers; the next one is not delivered. It ends circles of capsules
	// that answer one another.
	MaxHops = 8

	maxRouted = maxWaiting // messages that wait for one capsule and principal
	maxCallID = 128        // bytes of a call id that is taken from a payload
)

// router delivers messages to the handlers of one capsule: each is an
// invocation on behalf of the message's principal. Messages for one principal
// are delivered one after another; principals do not wait for one another.
type router struct {
	r *Runner
	c *Capsule

	work sync.WaitGroup

	// mu is held for accesses of the map.
	mu     sync.Mutex
	queues map[string]*routed // by principal
}

// routed are the messages that wait for a principal's instance. While it is in
// the map, a goroutine works on it.
type routed struct {
	waiting []delivery
	dropped uint64
}

type delivery struct {
	action  string
	message ipc.Message
}

// route delivers to a capsule's handlers until the Runner is closed.
func (r *Runner) route(c *Capsule) {
	rt := &router{r: r, c: c, queues: map[string]*routed{}}
	defer rt.work.Wait()
	var sources []poll.Source
	var subs []*ipc.Subscription
	var actions []string
	for _, h := range c.Handlers {
		s, err := r.opts.Bus.Subscribe("handlers of "+c.Name, h.Topic)
		if err != nil {
			r.opts.Log.Warn("a handler gets no messages", "capsule", c.Name, "topic", h.Topic, "error", err)
			continue
		}
		defer s.Close()
		subs, sources, actions = append(subs, s), append(sources, s), append(actions, h.Action)
	}
	for {
		ready, err := poll.Wait(r.closing, sources...)
		if err != nil {
			return
		}
		for _, i := range ready {
			if !rt.take(actions[i], subs[i]) {
				return
			}
		}
	}
}

// take empties a subscription; false if the bus is closed.
func (rt *router) take(action string, s *ipc.Subscription) bool {
	e := s.Poll()
	if e.Dropped > 0 {
		rt.r.opts.Log.Warn("messages for a handler were lost: they came faster than they could be taken",
			"capsule", rt.c.Name, "action", action, "lost", e.Dropped)
	}
	for _, m := range e.Messages {
		if m.Hops >= MaxHops {
			rt.r.opts.Log.Warn("a message is not delivered: too many others led to it, one leading to the next",
				"capsule", rt.c.Name, "topic", m.Topic, "source", m.SourceID, "hops", m.Hops)
			continue
		}
		rt.put(delivery{action, m})
	}
	return len(e.Messages) > 0 || !s.Closed()
}

// put queues a delivery for its principal; a full queue loses its oldest.
func (rt *router) put(d delivery) {
	principal := d.message.Principal.Name
	if principal == "" {
		principal = rt.r.opts.SystemPrincipal
	}
	rt.mu.Lock()
	defer rt.mu.Unlock()
	q := rt.queues[principal]
	if q == nil {
		q = &routed{}
		rt.queues[principal] = q
		rt.work.Go(func() { rt.deliver(principal, q) })
	}
	if q.waiting = append(q.waiting, d); len(q.waiting) > maxRouted {
		q.waiting = q.waiting[1:]
		if q.dropped++; q.dropped&(q.dropped-1) == 0 {
			rt.r.opts.Log.Warn("messages for a handler are lost: its capsule is too slow for them",
				"capsule", rt.c.Name, "principal", principal, "lost", q.dropped)
		}
	}
}

// deliver invokes handlers until the principal's queue is empty.
func (rt *router) deliver(principal string, q *routed) {
	for {
		rt.mu.Lock()
		if len(q.waiting) == 0 || rt.r.closing.Err() != nil {
			delete(rt.queues, principal)
			rt.mu.Unlock()
			return
		}
		d := q.waiting[0]
		q.waiting = q.waiting[1:]
		rt.mu.Unlock()
		rt.invoke(principal, d)
	}
}

// invoke is one delivery. What the handler answers goes to nobody; how it ended
// stands in the ledger.
func (rt *router) invoke(principal string, d delivery) {
	m := &d.message
	_, err := rt.r.Invoke(context.Background(), Invocation{
		Principal: principal, Capsule: rt.c.Name, Action: d.action, Payload: m.Payload,
		CallID: callIDOf(m.Payload), Source: m.SourceID, Hops: m.Hops + 1,
	})
	var call *CallError
	if err != nil && !errors.As(err, &call) && !errors.Is(err, ErrClosed) {
		rt.r.opts.Log.Warn("a message was not delivered", "capsule", rt.c.Name, "action", d.action,
			"principal", principal, "topic", m.Topic, "error", err)
	}
}

// callIDOf returns the call id that a tool's payload names, so that a cancel of
// that call reaches what it causes; else a new one.
func callIDOf(payload []byte) string {
	var tool struct {
		CallID string `json:"call_id"`
	}
	if err := json.Unmarshal(payload, &tool); err == nil && tool.CallID != "" && len(tool.CallID) <= maxCallID {
		return tool.CallID
	}
	return ulid.Make().String()
}
