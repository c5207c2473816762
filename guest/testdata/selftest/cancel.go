package main

import (
	"context"
	"errors"
	"time"

	"github.com/astrid-os/processledger/guest/ipc"
	"github.com/astrid-os/processledger/guest/poll"
	"github.com/astrid-os/processledger/guest/process"
	"github.com/astrid-os/processledger/guest/sys"
)

// cancelled waits for a message that does not come until its call is cancelled,
// then tries what else there is to wait for, and cleans up.
func cancelled() error {
	var c checks
	sub, err := ipc.Subscribe("selftest.v1.never")
	if err != nil {
		return err
	}
	defer sub.Drop()
	ready, err := sub.SubscribeReadiness()
	if err != nil {
		return err
	}
	defer ready.Drop()
	id, err := process.SpawnPersistent(process.Request{Cmd: "sleep", Args: []string{"600"}})
	if err != nil {
		return err
	}
	if err := ipc.PublishJSON("selftest.v1.waits", true); err != nil {
		return err
	}
	began := time.Now()
	waits := map[string]func() error{
		"poll":  func() error { _, err := poll.Poll(ready); return err },
		"block": ready.Block,
		"recv":  func() error { _, err := sub.Recv(time.Hour); return err },
		"sleep": func() error { return sys.Sleep(time.Hour) },
		"wait":  func() error { _, err := id.Wait(); return err },
		"tail":  func() error { _, err := id.Tail(process.Stdout, "").Next(1); return err },
		"spawn": func() error {
			_, err := process.Spawn(process.Request{Cmd: "sleep", Args: []string{"600"}})
			return err
		},
	}
	for name, wait := range waits {
		err := wait()
		c.that(errors.Is(err, context.Canceled), "%s after a cancel: %v", name, err)
	}
	c.that(time.Since(began) < 20*time.Second, "all of it took %v", time.Since(began))
	h, err := id.Attach()
	c.no(err, "attach after a cancel")
	if err == nil {
		_, err = h.Kill()
		c.no(err, "kill after a cancel")
		h.Drop()
	}
	return c.err()
}

// chatter has goroutines that outlive the call and go on calling the host; they
// end with the instance.
func chatter() error {
	for range 3 {
		go func() {
			for {
				if b, err := sys.Random(64); err != nil || len(b) != 64 {
					panic("random bytes are not to be had")
				}
				if _, err := ipc.Bindings(); err != nil {
					panic(err)
				}
			}
		}()
	}
	time.Sleep(time.Millisecond)
	return nil
}
