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
	done                      chan struct{}
}

// watch watches signals until close.
func watch(signals <-chan os.Signal) *watcher {
	w := &watcher{done: make(chan struct{})}
	w.first, w.cancelFirst = context.WithCancelCause(context.Background())
	w.second, w.cancelSecond = context.WithCancelCause(context.Background())
	go func() {
		for n := 0; ; n++ {
			select {
			case s := <-signals:
				if n == 0 {
					w.cancelFirst(fmt.Errorf("signal: %v", s))
				} else {
					w.cancelSecond(fmt.Errorf("second signal: %v", s))
				}
			case <-w.done:
				return
			}
		}
	}()
	return w
}

// close ends the watching and both contexts.
func (w *watcher) close() {
	close(w.done)
	w.cancelFirst(nil)
	w.cancelSecond(nil)
}

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
