package ui

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// quiet is how long a piece of work may take before anything is shown.
const quiet = time.Second

// Progress tells on a terminal, or a log, that something is still being
// worked on. Nothing is shown for work that takes less than a second.
type Progress struct {
	w     io.Writer
	live  bool // w is a terminal: one line is redrawn
	what  string
	begun time.Time
	shown bool
	stop  chan struct{}
	done  sync.WaitGroup
	once  sync.Once
}

// StartProgress begins to tell about what. Call Stop when it is done.
func StartProgress(w io.Writer, what string) *Progress {
	p := &Progress{w: w, live: IsTerminal(w), what: Safe(what), begun: time.Now(), stop: make(chan struct{})}
	p.done.Go(p.run)
	return p
}

// Stop ends it and clears its line. Afterwards nothing is written any more.
func (p *Progress) Stop() {
	p.once.Do(func() { close(p.stop) })
	p.done.Wait()
	if p.shown && p.live {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// run shows a line after a second: redrawn each second on a terminal, and
// elsewhere again only after 10, 20, 40 … seconds.
func (p *Progress) run() {
	next := quiet
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
		spent := time.Since(p.begun)
		if spent < next {
			continue
		}
		p.show(spent)
		if p.live {
			next = spent.Truncate(time.Second) + time.Second
		} else {
			next = max(10*time.Second, 2*next)
		}
	}
}

func (p *Progress) show(spent time.Duration) {
	p.shown = true
	if p.live {
		fmt.Fprintf(p.w, "\r\x1b[K%s… %ds", p.what, int(spent.Seconds()))
		return
	}
	fmt.Fprintf(p.w, "%s… (%ds so far)\n", p.what, int(spent.Seconds()))
}
