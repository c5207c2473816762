package ledger

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/astrid-os/processledger/ledger/event"
)

// Submit has the committer call fn and returns when the events that fn
// returned are durable. Closures run one after another, so fn sees every
// earlier decision; next is the header that its first event will get (see
// [Following] for the others). The committer fills the headers in; fn sets
// scope, body and Prev.
//
// fn must be pure: no I/O, no clock, no lock, no call back into the ledger,
// and no runtime.Goexit. If it returns no events, nothing is appended and the
// commit is empty, but Submit still returns only once everything that fn may
// have seen is durable. If it returns an error, Submit returns that.
//
// ctx counts until fn runs. From then on Submit returns what became of it,
// whatever ctx does.
//
// The errors: ErrClosed, ErrNoSpace, ErrUnwritable, a [PanicError], ErrTooLarge,
// ErrMalformed (nothing appended); ErrFailed (unknown); the error of ctx (fn did not run).
func (l *Ledger) Submit(ctx context.Context, fn func(next Header) ([]*event.Event, error)) (*Commit, error) {
	return l.submit(ctx, fn, false)
}

// SubmitEnding is Submit for what records how something ends, or that it has:
// it may use the reserve of a full disk. What it appends must be bounded by what
// Submit let begin.
func (l *Ledger) SubmitEnding(ctx context.Context, fn func(next Header) ([]*event.Event, error)) (*Commit, error) {
	return l.submit(ctx, fn, true)
}

func (l *Ledger) submit(ctx context.Context, fn func(next Header) ([]*event.Event, error), ending bool) (*Commit, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if fn == nil {
		return nil, fmt.Errorf("submit of a nil closure: %w", ErrMalformed)
	}
	r := newRequest(fn)
	r.ending = ending
	if err := l.queue.put(r, false); err != nil {
		return nil, err
	}
	return r.wait(ctx)
}

// request is one call of Submit on its way; a nil fn asks for Reopen.
type request struct {
	fn     func(next Header) ([]*event.Event, error)
	ending bool // it may use the reserve
	state  atomic.Int32
	done   chan struct{} // receives once, after commit and err are set

	commit *Commit
	err    error
}

// The states of a request.
const (
	waiting = iota
	taken   // by the committer: from here on the caller waits for the result
	left    // by the caller
)

// requests saves the channel that each request needs.
var requests = sync.Pool{New: func() any { return &request{done: make(chan struct{}, 1)} }}

func newRequest(fn func(Header) ([]*event.Event, error)) *request {
	r := requests.Get().(*request)
	r.fn, r.ending = fn, false
	r.state.Store(waiting)
	return r
}

// take claims the request for the committer; false if the caller has left.
func (r *request) take() bool { return r.state.CompareAndSwap(waiting, taken) }

// answer hands the result to the caller. The committer must not touch the
// request after it.
func (r *request) answer(c *Commit, err error) {
	r.commit, r.err = c, err
	r.done <- struct{}{}
}

// wait returns the result, or ctx's error if the committer has not taken the
// request by then.
func (r *request) wait(ctx context.Context) (*Commit, error) {
	select {
	case <-r.done:
	case <-ctx.Done():
		if r.state.CompareAndSwap(waiting, left) {
			return nil, ctx.Err() // the committer drops it when it comes by
		}
		<-r.done
	}
	c, err := r.commit, r.err
	r.fn, r.commit, r.err = nil, nil, nil
	requests.Put(r)
	return c, err
}

// queue is where requests wait for the committer. Every request in it is a
// blocked goroutine, so it needs no bound of its own.
type queue struct {
	wake chan struct{} // buffered: something is there

	// mu is held for a few instructions by each Submit and once a batch by
	// the committer.
	mu      sync.Mutex
	pending []*request
	closed  bool
	cause   error         // of the failed commit; nil: the ledger works
	failed  chan struct{} // closed while cause is set
}

func (q *queue) init() {
	q.wake = make(chan struct{}, 1)
	q.failed = make(chan struct{})
}

// put queues a request. Only a reopening one is let in after a failure.
func (q *queue) put(r *request, reopening bool) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return ErrClosed
	}
	if q.cause != nil && !reopening {
		return q.cause
	}
	q.pending = append(q.pending, r)
	q.signal()
	return nil
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default: // the committer will come anyway
	}
}

// get waits for requests and returns all there are; nil once the queue is
// closed and empty. spare is a slice that it may use.
func (q *queue) get(spare []*request) []*request {
	for {
		q.mu.Lock()
		batch, closed := q.pending, q.closed
		if len(batch) > 0 {
			clear(spare[:cap(spare)])
			q.pending = spare[:0]
			q.mu.Unlock()
			return batch
		}
		q.mu.Unlock()
		if closed {
			return nil
		}
		<-q.wake
	}
}

// gather lets those who were just answered run, for as long as they queue new
// requests, so that these share the next commit instead of waiting for it. It
// adds no delay: with nobody else to run it returns at once.
func (q *queue) gather() {
	for before := -1; ; {
		n := q.length()
		if n <= before || n >= maxBatchEvents {
			return
		}
		before = n
		runtime.Gosched()
	}
}

func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.pending)
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

// fail refuses requests from now on, with cause.
func (q *queue) fail(cause error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.cause == nil {
		q.cause = cause
		close(q.failed)
	}
}

// mend lets requests in again.
func (q *queue) mend() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.cause != nil {
		q.cause, q.failed = nil, make(chan struct{})
	}
}

// failure returns the cause of the failure, nil if the ledger works.
func (q *queue) failure() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.cause
}

func (q *queue) failedChan() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.failed
}
