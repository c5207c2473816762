// Package poll waits for things that become ready: the level-triggered
// readiness behind astrid:io/poll. It knows nothing of processes, messages or
// guests, uses no timer, and costs nothing while nobody's state changes.
//
// What can be waited for is a [Source]. Most are built on a [Notifier], which
// tells waiters that it is time to look again.
package poll

import (
	"context"
	"sync"
)

// Source is something that can be waited for.
type Source interface {
	// Ready tells whether it is ready now. It is level-triggered: true for
	// as long as what makes it ready lasts. It does not block.
	Ready() bool

	// Watch has a value sent to wake, which must have a capacity of 1 or more,
	// each time that Ready may have become true, until stop is called. A
	// wake that finds the channel full is dropped: one is enough to look
	// again. What became ready before Watch returned need not be told, so
	// whoever waits calls Watch first and Ready then.
	Watch(wake chan<- struct{}) (stop func())
}

// Wait blocks until at least one source is ready and returns the indices of
// all that are, ascending. It looks once even if ctx is done already, and
// returns ctx's cause if none is ready by then.
func Wait(ctx context.Context, sources ...Source) ([]int, error) {
	if ready := readyOf(sources); len(ready) > 0 {
		return ready, nil
	}
	wake := make(chan struct{}, 1)
	for _, s := range sources {
		defer s.Watch(wake)()
	}
	for {
		if ready := readyOf(sources); len(ready) > 0 {
			return ready, nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func readyOf(sources []Source) (ready []int) {
	for i, s := range sources {
		if s.Ready() {
			ready = append(ready, i)
		}
	}
	return ready
}

// Notifier wakes those who watch it. The zero value is ready for use; it is
// safe for concurrent use and must not be copied.
type Notifier struct {
	mu       sync.Mutex // held for map accesses only
	watchers map[*watcher]struct{}
}

type watcher struct{ wake chan<- struct{} }

// Watch implements that method of [Source].
func (n *Notifier) Watch(wake chan<- struct{}) (stop func()) {
	w := &watcher{wake}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.watchers == nil {
		n.watchers = map[*watcher]struct{}{}
	}
	n.watchers[w] = struct{}{}
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.watchers, w)
	}
}

// Notify has everybody who watches look again. It does not block.
func (n *Notifier) Notify() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for w := range n.watchers {
		select {
		case w.wake <- struct{}{}:
		default: // it will look anyway
		}
	}
}

// Watched tells whether anybody watches.
func (n *Notifier) Watched() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.watchers) > 0
}
