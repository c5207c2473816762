package host

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of how long a start waits for what it settles.
const (
	// startBound is how long a start waits for shims that do not answer,
	// however many there are: one that does needs milliseconds.
	startBound = time.Second

	// leastBound is what each is given at least, where there are so many that
	// startBound passes before the turn of the last.
	leastBound = 100 * time.Millisecond

	// atOnce is how many jobs work side by side: enough for their commits to
	// share transactions. One that is at it for turnBound waits for somebody
	// rather than works, and the others need not wait with it.
	atOnce    = 64
	turnBound = 20 * time.Millisecond
)

// job is the settling of one handle or of one leftover. It runs until that is
// done; the start waits only until it is matched.
type job struct {
	r     *recovery
	begun time.Time

	// matched is closed once the ledger holds the first step of what becomes
	// of it, or all there is to do is done. Only the job's goroutine closes it.
	matched chan struct{}

	settled atomic.Bool // all is done; before matched is closed, if nothing was matched by then

	err error // of a job that was done at once; written before matched is closed
}

// match says that the first step is durable: the start need not wait any more.
func (j *job) match() {
	if !j.isMatched() {
		j.r.matched.Add(1)
		close(j.matched)
	}
}

func (j *job) isMatched() bool {
	select {
	case <-j.matched:
		return true
	default:
		return false
	}
}

// begin starts a job, once it is its turn.
func (r *recovery) begin(do func(*job) error) {
	r.turns <- struct{}{}
	back := sync.OnceFunc(func() { <-r.turns })
	lent := time.AfterFunc(turnBound, back)
	j := &job{r: r, begun: time.Now(), matched: make(chan struct{})}
	r.jobs = append(r.jobs, j)
	r.h.work.Go(func() {
		err := do(j)
		lent.Stop()
		back()
		j.settled.Store(true)
		r.settled.Add(1)
		if !j.isMatched() {
			j.err = err
			j.match()
		} else if err != nil && r.h.ctx.Err() == nil {
			r.h.log.Error("what recovery began could not be finished; the next start takes it up", "error", err)
		}
	})
}

// await waits until every job is matched or has had its time. The error is the
// first of a job, or ctx's.
func (r *recovery) await(ctx context.Context) error {
	bound := time.NewTimer(r.h.patience)
	defer bound.Stop()
	for _, j := range r.jobs {
		bound.Reset(max(time.Until(r.began.Add(r.h.patience)), time.Until(j.begun.Add(leastBound))))
		select {
		case <-j.matched:
			if j.err != nil {
				return j.err
			}
		case <-bound.C: // it is among the unsettled
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// unsettled counts the jobs that go on now, and those of them that are not even
// matched: the shim has not answered, or left. Only the run's own goroutine calls
// it.
func (r *recovery) unsettled() (pending, silent uint32) {
	for _, j := range r.jobs {
		if j.settled.Load() {
			continue
		}
		pending++
		if !j.isMatched() {
			silent++
		}
	}
	return pending, silent
}

// leftover settles a directory that no handle stands behind, unless an earlier
// run of the table still does.
func (r *recovery) leftover(name string, settle func() error) error {
	if _, busy := r.h.leftovers.LoadOrStore(name, nil); busy {
		return nil
	}
	defer r.h.leftovers.Delete(name)
	return settle()
}

// Progress is how far recovery has come. Its numbers count handles that are not
// released, and leftovers in processes/ that are no such handle's.
type Progress struct {
	Total   int // to be matched
	Matched int // the ledger holds what becomes of them, or the first step of it

	// Settling are not at their end yet: being ended, or not answering. After
	// recovery.finished they are what goes on in the background.
	Settling int
}

// Progress tells how far the newest run of recovery has come; it is zero before
// the first. It does not block.
func (h *Host) Progress() Progress {
	r := h.recovery.Load()
	if r == nil {
		return Progress{}
	}
	total := r.total.Load()
	return Progress{Total: int(total), Matched: int(r.matched.Load()), Settling: int(total - r.settled.Load())}
}
