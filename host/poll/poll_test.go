package poll_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/astrid-os/processledger/host/poll"
)

// flag is a source that is ready while it is set.
type flag struct {
	poll.Notifier
	set atomic.Bool
}

func (f *flag) Ready() bool { return f.set.Load() }

func (f *flag) raise() {
	f.set.Store(true)
	f.Notify()
}

func TestWaitReturnsAllThatAreReadyAscending(t *testing.T) {
	var a, b, c flag
	c.raise()
	a.raise()
	got, err := poll.Wait(context.Background(), &a, &b, &c)
	if err != nil || !slices.Equal(got, []int{0, 2}) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(why)
	var a flag
	if _, err := poll.Wait(ctx, &a); !errors.Is(err, why) {
		t.Errorf("error %v", err)
	}
	if a.Watched() {
		t.Error("it still watches")
	}
	a.raise()
	if got, err := poll.Wait(ctx, &a); err != nil || len(got) != 1 {
		t.Errorf("ready with a done context: %v, %v", got, err)
	}
}

func TestNoWakeIsLost(t *testing.T) {
	for range 2000 {
		var a, b flag
		var wg sync.WaitGroup
		wg.Go(func() {
			if got, err := poll.Wait(context.Background(), &a, &b); err != nil || !slices.Equal(got, []int{1}) {
				t.Errorf("%v, %v", got, err)
			}
		})
		b.raise()
		wg.Wait()
	}
}
