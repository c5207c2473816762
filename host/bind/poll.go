package bind

import (
	"errors"

	"github.com/astrid-os/processledger/host/abi"
	"github.com/astrid-os/processledger/host/poll"
)

// maxPolled is the most pollables of one poll.
const maxPolled = 256

// pollErrorCode is the error-code of astrid:io/poll.
var pollErrorCode = abi.Variant("error-code",
	abi.Case{Name: "invalid-input"}, abi.Case{Name: "closed"}, abi.Case{Name: "too-large"},
	abi.Case{Name: "cancelled"}, abi.Case{Name: "unknown", Type: abi.String})

var (
	errNothingPolled = errors.New("a poll of nothing would never end")
	errPollClosed    = errors.New("what the pollable was of has been dropped")
	errPollTooLarge  = errors.New("more pollables than one poll takes")
)

var pollErrors = &errorSet{of: pollErrorCode, caseOf: func(err error) (int, string, bool) {
	switch {
	case errors.Is(err, errNothingPolled):
		return 0, "", true
	case errors.Is(err, errPollClosed):
		return 1, "", true
	case errors.Is(err, errPollTooLarge):
		return 2, "", true
	case isCancel(err):
		return 3, "", true
	}
	return 0, "", false
}}

// pollFuncs are those of astrid:io/poll@1.0.0.
func pollFuncs() []function {
	answers := func(name string, ok *abi.Type, do body, param abi.Field) function {
		return function{Func: abi.NewFunc(name, abi.Result(ok, pollErrors.of), param), do: do, errors: pollErrors}
	}
	return []function{
		bare(methodOf(pollable, "ready"), abi.Bool, pollReady, selfOf(pollable)),
		answers(methodOf(pollable, "block"), nil, pollBlock, selfOf(pollable)),
		answers("poll", abi.List(abi.U32), pollMany, field("pollables", abi.List(abi.Borrow(pollable)))),
		dropOf(pollable, dropPollable),
	}
}

// polled is what a pollable stands for. It belongs to the goroutine that
// runs the guest, like its parent.
type polled struct {
	// source is nil once the parent was dropped.
	source poll.Source
	parent *parent
}

// parent is what pollables are made of: a handle to a process, a subscription.
// A child may not outlive its parent. Where a guest drops the parent first, its
// pollables are closed: always ready, so that nobody waits for what cannot come,
// and every wait says so.
type parent struct{ children map[*polled]struct{} }

func (p *parent) orphan() {
	for c := range p.children {
		c.source, c.parent = nil, nil
	}
	p.children = nil
}

// subscribe returns what sets an own<pollable>. The function's result has no
// room for an error: a pollable of what cannot be waited for is closed from the
// start. A full table traps, before anything is done.
func (c *call) subscribe(p *parent, to func() (poll.Source, error)) func(abi.Slot) {
	c.in.table.Room()
	child := &polled{}
	if source, err := to(); err == nil {
		child.source, child.parent = source, p
		if p.children == nil {
			p.children = map[*polled]struct{}{}
		}
		p.children[child] = struct{}{}
	}
	return c.give(child)
}

func pollReady(c *call) (func(abi.Slot), error) {
	p := c.self().(*polled)
	ready := p.source == nil || p.source.Ready()
	return func(s abi.Slot) { s.Bool(ready) }, nil
}

func pollBlock(c *call) (func(abi.Slot), error) {
	p := c.self().(*polled)
	if p.source == nil {
		return nil, errPollClosed
	}
	_, err := poll.Wait(c.soft, p.source)
	return nil, cancelOf(err)
}

// pollMany blocks until at least one of the pollables is ready.
func pollMany(c *call) (func(abi.Slot), error) {
	list := c.arg("pollables").List()
	switch n := list.Len(); {
	case n == 0:
		return nil, errNothingPolled
	case n > maxPolled:
		return nil, errPollTooLarge
	}
	sources, closed := make([]poll.Source, list.Len()), false
	for i := range sources {
		v := list.At(i)
		p := c.in.table.Borrow(v.Resource(), v.Handle()).(*polled)
		sources[i], closed = p.source, closed || p.source == nil
	}
	if closed {
		return nil, errPollClosed
	}
	ready, err := poll.Wait(c.soft, sources...)
	return func(s abi.Slot) {
		s.List(len(ready), func(i int, e abi.Slot) { e.U32(uint32(ready[i])) })
	}, cancelOf(err)
}

// cancelOf is the error of a wait that ended without anything being ready,
// which only a cancel does, whatever it gave as its cause.
func cancelOf(err error) error {
	if err != nil {
		return errCancelled
	}
	return nil
}

func dropPollable(c *call) (func(abi.Slot), error) {
	p := c.drop().(*polled)
	if p.parent != nil {
		delete(p.parent.children, p)
	}
	return nil, nil
}
