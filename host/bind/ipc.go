package bind

import (
	"errors"

	"github.com/astrid-os/processledger/host/abi"
	"github.com/astrid-os/processledger/host/ipc"
	"github.com/astrid-os/processledger/host/policy"
	"github.com/astrid-os/processledger/host/poll"
)

// subscription is the one resource of astrid:ipc/host.
var subscription = &abi.Resource{Name: "subscription"}

// The types of astrid:ipc/host.
var (
	ipcErrorCode = abi.Variant("error-code",
		abi.Case{Name: "capability-denied"}, abi.Case{Name: "invalid-input"}, abi.Case{Name: "closed"},
		abi.Case{Name: "rate-limited"}, abi.Case{Name: "backpressure"}, abi.Case{Name: "quota"},
		abi.Case{Name: "timeout"}, abi.Case{Name: "unknown", Type: abi.String})

	ipcPrincipal = abi.Variant("principal",
		abi.Case{Name: "verified", Type: abi.String}, abi.Case{Name: "claimed", Type: abi.String}, abi.Case{Name: "system"})

	ipcMessage = abi.Record("ipc-message", field("topic", abi.String), field("payload", abi.String),
		field("source-id", abi.String), field("principal", ipcPrincipal))

	ipcEnvelope = abi.Record("envelope", field("messages", abi.List(ipcMessage)), field("dropped", abi.U64), field("lagged", abi.U64))

	interceptorBinding = abi.Record("interceptor-binding", field("handle-id", abi.U64), field("action", abi.String), field("topic", abi.String))
)

var ipcErrors = &errorSet{of: ipcErrorCode, caseOf: func(err error) (int, string, bool) {
	var e *ipc.Error
	switch {
	case errors.As(err, &e):
		return int(min(e.Code, ipc.Unknown)), e.Detail, true
	case isCancel(err): // the interface has no code for it
		return int(ipc.Unknown), "cancelled", true
	}
	return 0, "", false
}}

// clippedTopic is more than a topic, a pattern or a principal may have.
const clippedTopic = 512

// uplink is the capability that publishing under another principal needs.
const uplink = "uplink"

// ipcFuncs are those of astrid:ipc/host@1.0.0.
func ipcFuncs() []function {
	answers := func(name string, ok *abi.Type, do body, params ...abi.Field) function {
		return function{Func: abi.NewFunc(name, abi.Result(ok, ipcErrors.of), params...), do: do, errors: ipcErrors}
	}
	topic, payload, self := field("topic", abi.String), field("payload", abi.String), selfOf(subscription)
	return []function{
		answers("publish", nil, publish, topic, payload),
		answers("publish-as", nil, publishAs, topic, payload, field("principal", abi.String)),
		answers("subscribe", abi.Own(subscription), subscribe, field("topic-pattern", abi.String)),
		answers("get-interceptor-bindings", abi.List(interceptorBinding), interceptorBindings),
		answers(methodOf(subscription, "poll"), ipcEnvelope, pollSubscription, self),
		answers(methodOf(subscription, "recv"), ipcEnvelope, recv, self, field("timeout-ms", abi.U64)),
		bare(methodOf(subscription, "subscribe-readiness"), abi.Own(pollable), subscribeReadiness, self),
		dropOf(subscription, dropSubscription),
	}
}

// subscribed is a subscription that a guest has a handle to.
type subscribed struct {
	*ipc.Subscription
	parent
}

// errNoBus is the answer where the host has no bus.
var errNoBus = &ipc.Error{Code: ipc.Unknown, Detail: "this host has no bus"}

// publish speaks for whoever the guest runs for.
func publish(c *call) (func(abi.Slot), error) {
	return nil, c.publish(ipc.Principal{Kind: ipc.Verified, Name: c.caller().Principal})
}

// publishAs speaks for whomever the guest says, and says that it did. It is for
// capsules that carry messages of users of their own.
func publishAs(c *call) (func(abi.Slot), error) {
	name := c.arg("principal").Clip(clippedTopic)
	switch {
	case !c.in.sys.Allowed(c.in.sys.SourceID(c.caller().Capsule), uplink):
		return nil, &ipc.Error{Code: ipc.CapabilityDenied}
	case !policy.ValidPrincipal(name):
		return nil, &ipc.Error{Code: ipc.InvalidInput}
	}
	return nil, c.publish(ipc.Principal{Kind: ipc.Claimed, Name: name})
}

func (c *call) publish(p ipc.Principal) error {
	topic, payload := c.arg("topic").Clip(clippedTopic), c.arg("payload")
	if !textFits(payload, ipc.MaxPayload) {
		return &ipc.Error{Code: ipc.InvalidInput}
	}
	text := payload.Text()
	if c.in.bus == nil {
		return errNoBus
	}
	return c.in.bus.Publish(ipc.Message{
		Topic: topic, Payload: []byte(text), SourceID: c.in.sys.SourceID(c.caller().Capsule), Principal: p,
		Hops: c.caller().Hops,
	})
}

func subscribe(c *call) (func(abi.Slot), error) {
	pattern := c.arg("topic-pattern").Clip(clippedTopic)
	switch {
	case c.in.bus == nil:
		return nil, errNoBus
	case c.in.table.Full():
		return nil, &ipc.Error{Code: ipc.Quota}
	}
	s, err := c.in.bus.SubscribeFor(c.caller().Instance, c.caller().Principal, pattern)
	if err != nil {
		return nil, err
	}
	return c.give(&subscribed{Subscription: s}), nil
}

func interceptorBindings(c *call) (func(abi.Slot), error) {
	all := c.in.sys.Bindings(c.caller().Capsule)
	return func(s abi.Slot) {
		s.List(len(all), func(i int, e abi.Slot) {
			e.Field("handle-id").U64(all[i].HandleID)
			e.Field("action").Text(lossyString(all[i].Action))
			e.Field("topic").Text(lossyString(all[i].Topic))
		})
	}, nil
}

func pollSubscription(c *call) (func(abi.Slot), error) {
	e := c.self().(*subscribed).Poll()
	return func(s abi.Slot) { lowerEnvelope(s, e) }, nil
}

// recv blocks until there is a message, the timeout is over or the invocation
// is cancelled.
func recv(c *call) (func(abi.Slot), error) {
	e, err := c.self().(*subscribed).Recv(c.soft, liftMillis(c.arg("timeout-ms")))
	return func(s abi.Slot) { lowerEnvelope(s, e) }, err
}

func subscribeReadiness(c *call) (func(abi.Slot), error) {
	s := c.self().(*subscribed)
	return c.subscribe(&s.parent, func() (poll.Source, error) { return s.Subscription, nil }), nil
}

func dropSubscription(c *call) (func(abi.Slot), error) {
	s := c.drop().(*subscribed)
	s.orphan()
	s.Close()
	return nil, nil
}

func lowerEnvelope(s abi.Slot, e ipc.Envelope) {
	s.Field("messages").List(len(e.Messages), func(i int, to abi.Slot) {
		m := &e.Messages[i]
		to.Field("topic").Text(m.Topic)
		to.Field("payload").Text(string(m.Payload))
		to.Field("source-id").Text(m.SourceID)
		p := to.Field("principal").Case(int(m.Principal.Kind))
		if m.Principal.Kind != ipc.System {
			p.Text(lossyString(m.Principal.Name))
		}
	})
	s.Field("dropped").U64(e.Dropped)
	s.Field("lagged").U64(e.Lagged)
}
