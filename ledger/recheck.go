package ledger

import (
	"context"
	"sync/atomic"
	"time"
)

// The look at what an opening skipped: some records, then a rest, so that a
// start that has much to do is not kept from it. A full segment takes about
// two seconds.
const (
	recheckRecords = 1024
	recheckRest    = 5 * time.Millisecond
)

// lookBack is the daemon's own look at the records that an opening from a
// snapshot did not read.
type lookBack struct {
	stop  context.CancelFunc // nil: there is nothing to look at
	done  chan struct{}
	found atomic.Pointer[error]
}

// begin looks at the records up to seq to, which is 0 if none were skipped.
func (b *lookBack) begin(l *Ledger, from, to uint64) {
	if to == 0 {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	b.stop, b.done = stop, make(chan struct{})
	go func() {
		defer close(b.done)
		if err := l.recheck(ctx, from, to); err != nil && ctx.Err() == nil {
			b.found.Store(&err)
			l.o.Log.Error("the newest segment is damaged; `astridctl verify` tells all that is wrong", "error", err)
		}
	}()
}

// end breaks the look off. It returns when it is over.
func (b *lookBack) end() {
	if b.stop != nil {
		b.stop()
		<-b.done
	}
}

// Damage returns what a look at the records that Open did not read has found
// so far: an ErrCorrupt or ErrGap, or nil. The state is not wrong by it, and
// appending goes on; but whoever reads that event gets the same error.
func (l *Ledger) Damage() error {
	if err := l.back.found.Load(); err != nil {
		return *err
	}
	return nil
}

// recheck reads a range, with rests, and returns the first error. It ends early
// with ctx.
func (l *Ledger) recheck(ctx context.Context, from, to uint64) error {
	n := 0
	for _, err := range l.Raw(ctx, from, to) {
		if err != nil {
			return err
		}
		if n++; n%recheckRecords != 0 {
			continue
		}
		select {
		case <-time.After(recheckRest):
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}
