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
	// maxPrincipals is for how many principals one capsule is called by messages
	// at a time, and maxRoutedBytes what may wait for all of them together. Who
	// may publish-as can name as many as there are names.
	maxPrincipals  = 64
	maxRoutedBytes = 32 << 20

	maxCallID = 128 // bytes of a call id that is taken from a payload
)

// router delivers messages to the handlers of one capsule: each is an
// invocation on behalf of the message's principal. Messages for one principal
// are delivered one after another; principals do not wait for one another.
type router struct {
	r *Runner
	c *Capsule

	// The handlers' topics and actions, in one order.
	subs    []*ipc.Subscription
	sources []poll.Source // the same
	actions []string

	work sync.WaitGroup

	// mu is held for accesses of what follows.
	mu     sync.Mutex
	queues map[string]*routed // by principal
	bytes  int                // of the messages that wait
	lost   uint64
}

// routed are the messages that wait for a principal's instance. While it is in
// the map, a goroutine works on it.
type routed struct{ waiting []delivery }

type delivery struct {
	action  string
	message ipc.Message
}

// newRouter subscribes to the topics of a capsule's handlers: whatever is
// published once it has returned is routed.
func (r *Runner) newRouter(c *Capsule) *router {
	rt := &router{r: r, c: c, queues: map[string]*routed{}}
	for _, h := range c.Handlers {
		s, err := r.opts.Bus.Subscribe("handlers of "+c.Name, h.Topic)
		if err != nil {
			r.opts.Log.Warn("a handler gets no messages", "capsule", c.Name, "topic", h.Topic, "error", err)
			continue
		}
		rt.subs, rt.sources, rt.actions = append(rt.subs, s), append(rt.sources, s), append(rt.actions, h.Action)
	}
	return rt
}

// route delivers to the handlers until the Runner is closed.
func (rt *router) route() {
	defer rt.work.Wait()
	for _, s := range rt.subs {
		defer s.Close()
	}
	for {
		ready, err := poll.Wait(rt.r.closing, rt.sources...)
		if err != nil {
			return
		}
		for _, i := range ready {
			if !rt.take(rt.actions[i], rt.subs[i]) {
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

// put queues a delivery for its principal. Where there is no room its principal's
// oldest are lost, or else itself.
func (rt *router) put(d delivery) {
	principal := d.message.Principal.Name
	if principal == "" {
		principal = rt.r.opts.SystemPrincipal
	}
	rt.mu.Lock()
	defer rt.mu.Unlock()
	q := rt.queues[principal]
	if q == nil && len(rt.queues) < maxPrincipals {
		q = &routed{}
		rt.queues[principal] = q
		rt.work.Go(func() { rt.deliver(principal, q) })
	}
	size := len(d.message.Payload)
	for q != nil && len(q.waiting) > 0 && (len(q.waiting) >= maxRouted || rt.bytes+size > maxRoutedBytes) {
		rt.pop(q)
		rt.lose(principal)
	}
	if q == nil || rt.bytes+size > maxRoutedBytes {
		rt.lose(principal)
		return
	}
	q.waiting = append(q.waiting, d)
	rt.bytes += size
}

// pop takes the oldest delivery of a queue. The caller has rt.mu.
func (rt *router) pop(q *routed) delivery {
	d := q.waiting[0]
	q.waiting[0] = delivery{} // let go of its bytes
	q.waiting = q.waiting[1:]
	rt.bytes -= len(d.message.Payload)
	return d
}

// lose counts a message that is not delivered. The caller has rt.mu.
func (rt *router) lose(principal string) {
	if rt.lost++; rt.lost&(rt.lost-1) == 0 {
		rt.r.opts.Log.Warn("messages for a handler are lost: its capsule is too slow for them",
			"capsule", rt.c.Name, "principal", principal, "lost", rt.lost)
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
		d := rt.pop(q)
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
