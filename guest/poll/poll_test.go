//go:build !wasip1

package poll

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/astrid-os/processledger/guest/internal/mem"
)

func ExamplePoll() {
	// From h.SubscribeExit() of package process and sub.SubscribeReadiness()
	// of package ipc.
	exit, messages := Own(1), Own(2)

	ready, err := Poll(exit, messages)
	switch {
	case errors.Is(err, ErrCancelled):
		fmt.Println("the caller does not want the answer any more")
	case err != nil:
		fmt.Println(err)
	case slices.Contains(ready, 0):
		fmt.Println("the process has ended")
	}
	// Output: guest: not running in a capsule
}

func TestLayout(t *testing.T) {
	k, _ := lower([]*Pollable{Own(7), Own(9)})
	if v := k.View(); len(v) != 8 || v.U32(0) != 7 || v.U32(4) != 9 {
		t.Errorf("list<borrow<pollable>> is % x", v)
	}
	result := mem.NewBlock(16)
	mem.Give(result, 4, []byte{1, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0})
	result.U32(8, 3)
	if ready := lift(result.View()); !slices.Equal(ready, []int{1, 2, 256}) {
		t.Errorf("list<u32> is %v", ready)
	}
}

func TestErrors(t *testing.T) {
	result := mem.NewBlock(16)
	result.U8(4, uint8(Unknown))
	mem.Give(result, 8, []byte("out of order"))
	if err := liftError(result.View(), 4); err.Error() != "poll: unknown: out of order" {
		t.Error(err)
	}
	result.U8(4, uint8(Cancelled))
	if err := liftError(result.View(), 4); !errors.Is(err, ErrCancelled) || !errors.Is(err, context.Canceled) || errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	p := Own(1)
	p.Drop()
	if _, err := p.Ready(); !errors.Is(err, ErrOutside) {
		t.Error(err)
	}
	if err := p.Block(); !errors.Is(err, ErrOutside) {
		t.Error(err)
	}
}
