package ledger

import (
	"context"
	"iter"

	"github.com/astrid-os/processledger/ledger/event"
)

// Follow yields the events from seq from on, first those that are there, then
// each as it becomes durable, without a gap and without polling. A from of 0
// is the first event; one that is not there yet is waited for.
//
// It ends when ctx does or the ledger is closed; the last pair then holds
// ctx's error or ErrClosed.
func (l *Ledger) Follow(ctx context.Context, from uint64) iter.Seq2[*event.Event, error] {
	return func(yield func(*event.Event, error) bool) {
		from, _ := l.clamp(from, 0)
		for {
			news := l.news.wait() // before the look, so that nothing falls between
			for last := l.last(); from <= last; {
				for e, err := range l.Events(ctx, from, last) {
					if !yield(e, err) || err != nil {
						return
					}
					from = e.Seq + 1
				}
			}
			if news == nil {
				yield(nil, ErrClosed)
				return
			}
			select {
			case <-news:
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			}
		}
	}
}
