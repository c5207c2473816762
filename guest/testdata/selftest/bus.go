package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/astrid-os/processledger/guest/ipc"
	"github.com/astrid-os/processledger/guest/process"
)

// bus publishes to itself.
func bus() error {
	var c checks
	sub, err := ipc.Subscribe("selftest.v1.*")
	if err != nil {
		return err
	}
	defer sub.Drop()
	ready, err := sub.SubscribeReadiness()
	if err != nil {
		return err
	}
	defer ready.Drop()
	is, err := ready.Ready()
	c.that(!is && err == nil, "readiness before a message: %t, %v", is, err)
	e, err := sub.Recv(time.Millisecond)
	c.that(err == nil && len(e.Messages) == 0, "recv of nothing: %+v, %v", e, err)

	c.no(ipc.PublishJSON("selftest.v1.one", map[string]int{"n": 1}), "publish")
	c.no(ready.Block(), "readiness")
	e, err = sub.Poll()
	c.that(err == nil && len(e.Messages) == 1 && e.Dropped == 0, "poll: %+v, %v", e, err)
	if len(e.Messages) == 1 {
		m := e.Messages[0]
		c.that(m.Topic == "selftest.v1.one" && string(m.Payload) == `{"n":1}` && m.SourceID != "", "message %+v", m)
		c.that(m.Principal == ipc.Principal{Attribution: ipc.Verified, Name: "alice"}, "message's principal %+v", m.Principal)
	}
	for i := range 3 {
		c.no(ipc.PublishJSON("selftest.v1.two", i), "publish")
	}
	got := ""
	for m, err := range sub.Messages() {
		if got += string(m.Payload); err != nil || len(got) == 3 {
			c.no(err, "messages")
			break
		}
	}
	c.that(got == "012", "messages in the order %q", got)
	err = ipc.Publish("Not A Topic", []byte("1"))
	c.that(errors.Is(err, ipc.ErrInvalid), "publish on no topic: %v", err)
	err = ipc.Publish("selftest.v1.bad", []byte("{"))
	c.that(errors.Is(err, ipc.ErrInvalid), "publish of no JSON: %v", err)
	all, err := ipc.Bindings()
	echo := slices.ContainsFunc(all, func(b ipc.Binding) bool {
		return b.Action == "tool_execute_echo" && b.Topic == "tool.v1.execute.echo"
	})
	c.that(err == nil && echo, "bindings %+v, %v", all, err)
	return c.err()
}

// watch has the end of a process told on the bus.
func watch() error {
	var c checks
	sub, err := ipc.Subscribe(process.EventTopic(process.EventExited, "selftest.*"))
	if err != nil {
		return err
	}
	defer sub.Drop()
	id, err := process.SpawnPersistent(process.Request{Cmd: "cat", KeepStdinOpen: true})
	if err != nil {
		return err
	}
	c.no(id.Watch("selftest.watched"), "watch")
	c.no(id.Watch("selftest.watched"), "a second watch")
	c.no(id.CloseStdin(), "close-stdin")
	e, err := sub.Recv(20 * time.Second)
	if err != nil || len(e.Messages) != 1 {
		return fmt.Errorf("recv: %+v, %w", e, err)
	}
	m := e.Messages[0]
	event, suffix, ok := process.SplitTopic(m.Topic)
	c.that(event == process.EventExited && suffix == "selftest.watched" && ok, "topic %s", m.Topic)
	told, err := process.ParseEvent(m.Payload)
	c.that(err == nil && told.ID == id && told.Reason == process.SelfExit, "event %+v of %s, %v", told, m.Payload, err)
	c.that(told.Exit != nil && told.Exit.Success(), "the event's exit: %s", m.Payload)
	c.no(id.Unwatch(), "unwatch")
	c.no(id.Release(), "release")
	return c.err()
}
