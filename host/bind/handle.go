package bind

import (
	"math"
	"time"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/abi"
	"github.com/astrid-os/processledger/ledger/event"
)

// self returns the process whose method is called.
func (c *call) self() Process {
	return c.in.table.Borrow(processHandle, c.args.Field("self").Handle()).(Process)
}

func readLogs(c *call) (func(abi.Slot), error) {
	l, err := c.self().ReadLogs(c.ctx, c.caller())
	if err != nil {
		return nil, err
	}
	return func(s abi.Slot) {
		s.Field("stdout").Text(lossy(l.Stdout))
		s.Field("stderr").Text(lossy(l.Stderr))
		s.Field("running").Bool(l.Running)
		lowerMaybeExit(s.Field("exit"), l.Exit)
	}, nil
}

// wait blocks until the process ends, the timeout is over or the invocation is
// cancelled.
func wait(c *call) (func(abi.Slot), error) {
	p, timeout := c.self(), optional(c.args.Field("timeout-ms"), liftMillis)
	exit, err := p.Wait(c.soft, c.caller(), timeout)
	if err != nil {
		return nil, err
	}
	return func(s abi.Slot) { lowerExit(s, exit) }, nil
}

// liftMillis reads a number of milliseconds; what no Duration holds is the
// longest one.
func liftMillis(v abi.View) time.Duration {
	return time.Duration(min(v.U64(), math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond
}

// kill works after a cancel too, so that a cancelled guest can clean up.
func kill(c *call) (func(abi.Slot), error) {
	k, err := c.self().Kill(c.ctx, c.caller())
	if err != nil {
		return nil, err
	}
	return func(s abi.Slot) {
		s.Field("killed").Bool(k.Killed)
		lowerMaybeExit(s.Field("exit"), k.Exit)
		s.Field("stdout").Text(lossy(k.Stdout))
		s.Field("stderr").Text(lossy(k.Stderr))
	}, nil
}

func signal(c *call) (func(abi.Slot), error) {
	p := c.self()
	n, _ := c.args.Field("sig").Case()
	return nil, p.Signal(c.ctx, c.caller(), host.Signal(n))
}

func osPid(c *call) (func(abi.Slot), error) {
	pid, err := c.self().OSPid(c.caller())
	return func(s abi.Slot) { s.U32(pid) }, err
}

// drop takes the handle back, which ends the process. There is nobody to tell
// of an error but the log: the host carries on with the ending, and does it
// again at the latest when the instance goes.
func drop(c *call) (func(abi.Slot), error) {
	p := c.in.table.Drop(processHandle, c.args.Field("self").Handle()).(Process)
	if err := p.Drop(c.ctx, c.caller()); err != nil {
		c.in.log.Error("a dropped process handle was not released", "capsule", c.caller().Capsule,
			"principal", c.caller().Principal, "error", err)
	}
	return nil, nil
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
