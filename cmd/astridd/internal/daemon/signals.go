package daemon

import (
	"context"
	"fmt"
	"os"
)

// watcher turns signals into two contexts: first ends with the first signal,
// second with the second one.
type watcher struct {
	first, second             context.Context
	cancelFirst, cancelSecond context.CancelCauseFunc
	done, over                chan struct{}
}

// watch watches signals until close.
func watch(signals <-chan os.Signal) *watcher {
	w := &watcher{done: make(chan struct{}), over: make(chan struct{})}
	w.first, w.cancelFirst = context.WithCancelCause(context.Background())
	w.second, w.cancelSecond = context.WithCancelCause(context.Background())
	go func() {
		defer close(w.over)
		for {
			select {
			case s := <-signals:
				w.take(s)
			case <-w.done:
				for len(signals) > 0 { // this one is the only reader
					w.take(<-signals)
				}
				return
			}
		}
	}()
	return w
}

// take takes in one signal.
func (w *watcher) take(s os.Signal) {
	if w.first.Err() == nil {
		w.cancelFirst(fmt.Errorf("signal: %v", s))
	} else {
		w.cancelSecond(fmt.Errorf("second signal: %v", s))
	}
}

// close takes in the signals that came before it, and ends the watching.
func (w *watcher) close() {
	close(w.done)
	<-w.over
}

// stopped tells whether a signal has come.
func (w *watcher) stopped() bool { return w.first.Err() != nil }

// reason is why the daemon stops, for the ledger.
func (w *watcher) reason(err error) string {
	switch {
	case err != nil && w.first.Err() == nil:
		return "failed: " + err.Error()
	case w.first.Err() != nil:
		return context.Cause(w.first).Error()
	}
	return "operator"
}
