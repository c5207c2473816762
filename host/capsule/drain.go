package capsule

import (
	"context"
	"time"
)

// drainPause is the pause between two looks at what is still under way.
const drainPause = 5 * time.Millisecond

// Drain lets no more invocations and programs in and waits until those that are
// in have ended, those that wait for their turn included, or until ctx is done.
// It returns how many are left then. What a call under way publishes is
// delivered meanwhile, for it may wait for an answer. Background runs go on and
// are not counted. Close the Runner afterwards: it is of no more use.
func (r *Runner) Drain(ctx context.Context) (left int) {
	r.mu.Lock()
	r.draining = true
	r.mu.Unlock()
	tick := time.NewTicker(drainPause)
	defer tick.Stop()
	for {
		r.mu.Lock()
		left = r.calls
		r.mu.Unlock()
		if left == 0 {
			return 0
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return left
		}
	}
}

// over says that something that was let in has ended.
func (r *Runner) over(background bool) {
	if background {
		return
	}
	r.mu.Lock()
	r.calls--
	r.mu.Unlock()
}
