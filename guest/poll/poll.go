package poll

import (
	"context"
	"fmt"
	"runtime"

	"github.com/astrid-os/processledger/guest/internal/mem"
)

// Max is how many pollables one [Poll] may wait for.
const Max = 256

// Pollable is one thing to wait for. It is the capsule instance's, and counts
// against a bound of the host until it is dropped.
type Pollable struct{ index uint32 }

// Own returns the pollable with an index that the host has given out. It is
// for bindings of host interfaces that this SDK does not have.
func Own(index uint32) *Pollable { return &Pollable{index: index} }

// Ready tells whether it is ready now. It does not block.
func (p *Pollable) Ready() (bool, error) {
	if !mem.Inside {
		return false, ErrOutside
	}
	if p.index == 0 {
		return false, ErrClosed
	}
	var ready uint32
	mem.Enter(func() { ready = rawReady(p.index) })
	return ready != 0, nil
}

// Block waits until it is ready.
func (p *Pollable) Block() error {
	if mem.Inside && p.index == 0 {
		return ErrClosed
	}
	_, err := call(func(ret uint32) { rawBlock(p.index, ret) })
	return err
}

// Drop gives the pollable back; a second Drop does nothing.
func (p *Pollable) Drop() {
	if mem.Inside && p.index != 0 {
		mem.Enter(func() { rawDrop(p.index) })
		p.index = 0
	}
}

// Poll waits until at least one of up to [Max] pollables is ready, and returns
// the positions of all that are, ascending.
func Poll(list ...*Pollable) ([]int, error) {
	if !mem.Inside {
		return nil, ErrOutside
	}
	for _, p := range list {
		if p.index == 0 {
			return nil, ErrClosed
		}
	}
	k, at := lower(list)
	v, err := call(func(ret uint32) { rawPoll(at, uint32(len(list)), ret) })
	runtime.KeepAlive(k)
	if err != nil {
		return nil, err
	}
	return lift(v), nil
}

// lower lays out a list<borrow<pollable>> and returns its address.
func lower(list []*Pollable) (*mem.Block, uint32) {
	k := mem.NewBlock(4 * len(list))
	for i, p := range list {
		k.U32(uint32(4*i), p.index)
	}
	return k, k.Address()
}

// lift reads a list<u32>.
func lift(v mem.View) []int {
	list := v.List(4, 4)
	ready := make([]int, len(list))
	for i, e := range list {
		ready[i] = int(e.U32(0))
	}
	return ready
}

// call calls a host function with a result of 16 bytes.
func call(raw func(ret uint32)) (mem.View, error) {
	return mem.Result(16, 4, raw, liftError)
}

func liftError(v mem.View, at uint32) error {
	code, detail := v.ErrorCode(at, uint8(Unknown))
	return &Error{Code: Code(code), Detail: detail}
}

// Code says why the host did not do what was asked.
type Code uint8

// The codes, in the contract's order.
const (
	InvalidInput Code = iota
	Closed
	TooLarge
	Cancelled
	Unknown
)

var codeNames = [...]string{"invalid-input", "closed", "too-large", "cancelled", "unknown"}

// String returns the code's name in the contract.
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// Error is an answer of the host that is not a success.
type Error struct {
	Code   Code
	Detail string // set for Unknown only
}

// Error reads like "poll: cancelled".
func (e *Error) Error() string {
	if e.Detail == "" {
		return "poll: " + e.Code.String()
	}
	return "poll: " + e.Code.String() + ": " + e.Detail
}

// Is compares by code; a cancelled call is context.Canceled too.
func (e *Error) Is(target error) bool {
	if t, ok := target.(*Error); ok {
		return t.Code == e.Code
	}
	return target == context.Canceled && e.Code == Cancelled
}

// One error for each code that a program is likely to act on, for errors.Is.
var (
	ErrInvalid   = &Error{Code: InvalidInput} // nothing to wait for
	ErrClosed    = &Error{Code: Closed}       // what was waited for is gone, or the pollable was dropped
	ErrTooLarge  = &Error{Code: TooLarge}     // more than Max
	ErrCancelled = &Error{Code: Cancelled}    // the call of the capsule was cancelled: clean up and return
)

// ErrOutside is returned by everything that is not built as a capsule.
var ErrOutside = mem.ErrOutside
