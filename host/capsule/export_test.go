package capsule

import "time"

// SetRestart makes the wait before a background run is begun again.
func (o *RunOptions) SetRestart(f func(failures int) time.Duration) { o.restart = f }

// Instances tells how many instances live, and how many slots there are for
// them. No call may be under way.
func (r *Runner) Instances() (live, slots int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.slots {
		if s.in != nil {
			live++
		}
	}
	return live, len(r.slots)
}

// Waiting returns how many invocations wait for their turn.
func Waiting(r *Runner) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.queue)
}
