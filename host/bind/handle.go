package bind

import (
	"math"
	"time"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/abi"
	"github.com/astrid-os/processledger/host/poll"
	"github.com/astrid-os/processledger/ledger/event"
)

// handle is a process that a guest has a handle to.
type handle struct {
	Process
	parent
}

// process returns the process whose method is called.
func (c *call) process() *handle { return c.self().(*handle) }

func readLogs(c *call) (func(abi.Slot), error) {
	l, err := c.process().ReadLogs(c.ctx, c.caller())
	return func(s abi.Slot) { lowerLogs(s, l) }, err
}

func writeStdin(c *call) (func(abi.Slot), error) {
	p := c.process()
	data, err := liftInput(c.arg("data"))
	if err != nil {
		return nil, err
	}
	n, err := p.WriteStdin(c.soft, c.caller(), data)
	return func(s abi.Slot) { s.U32(n) }, err
}

// liftInput reads what goes to a program's stdin, and refuses too much of it
// before it is copied.
func liftInput(v abi.View) ([]byte, error) {
	if !fits(v, host.MaxWriteBytes) {
		return nil, &host.Error{Code: host.TooLarge, Detail: "more bytes than one write may carry"}
	}
	return v.Bytes(), nil
}

// closeStdin works after a cancel too, like all that ends something.
func closeStdin(c *call) (func(abi.Slot), error) {
	return nil, c.process().CloseStdin(c.ctx, c.caller())
}

func signal(c *call) (func(abi.Slot), error) {
	p := c.process()
	return nil, p.Signal(c.ctx, c.caller(), liftSignal(c.arg("sig")))
}

// liftSignal reads a process-signal: every revision has those of the one before.
func liftSignal(v abi.View) host.Signal {
	n, _ := v.Case()
	return host.Signal(n)
}

// kill works after a cancel too, so that a cancelled guest can clean up.
func kill(c *call) (func(abi.Slot), error) {
	k, err := c.process().Kill(c.ctx, c.caller())
	return func(s abi.Slot) {
		s.Field("killed").Bool(k.Killed)
		lowerMaybeExit(s.Field("exit"), k.Exit)
		s.Field("stdout").Text(lossy(k.Stdout))
		s.Field("stderr").Text(lossy(k.Stderr))
	}, err
}

// wait blocks until the process ends, the timeout is over or the invocation is
// cancelled.
func wait(c *call) (func(abi.Slot), error) {
	p, timeout := c.process(), optional(c.arg("timeout-ms"), liftMillis)
	exit, err := p.Wait(c.soft, c.caller(), timeout)
	return func(s abi.Slot) { lowerExit(s, exit) }, err
}

func waitWithOutput(c *call) (func(abi.Slot), error) {
	p, timeout := c.process(), optional(c.arg("timeout-ms"), liftMillis)
	r, err := p.WaitWithOutput(c.soft, c.caller(), timeout)
	return func(s abi.Slot) { lowerResult(s, r) }, err
}

// liftMillis reads a number of milliseconds; what no Duration holds is the
// longest one.
func liftMillis(v abi.View) time.Duration {
	return time.Duration(min(v.U64(), math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond
}

func osPid(c *call) (func(abi.Slot), error) {
	pid, err := c.process().OSPid(c.caller())
	return func(s abi.Slot) { s.U32(pid) }, err
}

func subscribeExit(c *call) (func(abi.Slot), error) {
	p := c.process()
	return c.subscribe(&p.parent, func() (poll.Source, error) { return p.SubscribeExit(c.caller()) }), nil
}

func subscribeLogs(c *call) (func(abi.Slot), error) {
	p := c.process()
	return c.subscribe(&p.parent, func() (poll.Source, error) { return p.SubscribeLogs(c.caller()) }), nil
}

// drop takes the handle back, which ends the process, or lets go of one of the
// persistent tier. There is nobody to tell of an error but the log: the host
// carries on with the ending, and does it again at the latest when the instance
// goes.
func drop(c *call) (func(abi.Slot), error) {
	p := c.drop().(*handle)
	p.orphan()
	if err := p.Drop(c.ctx, c.caller()); err != nil {
		c.in.log.Error("a dropped process handle was not released", "capsule", c.caller().Capsule,
			"principal", c.caller().Principal, "error", err)
	}
	return nil, nil
}

func lowerLogs(s abi.Slot, l host.Logs) {
	s.Field("stdout").Text(lossy(l.Stdout))
	s.Field("stderr").Text(lossy(l.Stderr))
	s.Field("running").Bool(l.Running)
	lowerMaybeExit(s.Field("exit"), l.Exit)
}

func lowerExit(s abi.Slot, e event.Exit) {
	if e.Code != nil {
		s.Field("exit-code").Some().S32(*e.Code)
	}
	if e.Signal != nil {
		s.Field("signal").Some().S32(*e.Signal)
	}
}

func lowerMaybeExit(s abi.Slot, e *event.Exit) {
	if e != nil {
		lowerExit(s.Some(), *e)
	}
}
