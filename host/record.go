package host

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// decision is a closure for Live.Decide.
type decision = func(*projector.State, ledger.Header) ([]*event.Event, error)

// decide is Live.Decide with the trace of tests around it: for what begins
// something, which a full disk refuses.
func (h *Host) decide(ctx context.Context, fn decision) (*ledger.Commit, error) {
	return h.live.Decide(ctx, h.traced(fn))
}

// decideEnding is Live.DecideEnding: for what ends something, or has happened.
func (h *Host) decideEnding(ctx context.Context, fn decision) (*ledger.Commit, error) {
	return h.live.DecideEnding(ctx, h.traced(fn))
}

func (h *Host) traced(fn decision) decision {
	if h.trace == nil {
		return fn
	}
	if h.deciding != nil {
		site := decisionSite()
		inner := fn
		fn = func(tip *projector.State, next ledger.Header) ([]*event.Event, error) {
			es, err := inner(tip, next)
			if err == nil && len(es) > 0 {
				h.deciding(site)
			}
			return es, err
		}
	}
	return func(tip *projector.State, next ledger.Header) ([]*event.Event, error) {
		es, err := fn(tip, next)
		if err == nil && len(es) > 0 {
			h.traceEvents("append", es)
		}
		return es, err
	}
}

// decisionSite names the function that asked for a decision, for tests: the
// first one above those of this file and their wrappers.
func decisionSite() string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		f, more := frames.Next()
		if !more {
			return ""
		}
		_, name, _ := strings.Cut(f.Function, "/host.")
		if !strings.HasSuffix(f.File, "/record.go") && name != "(*owner).record" && !strings.Contains(name, "(*owner).decideNow") {
			name, _, _ = strings.Cut(name, ".func")
			return name
		}
	}
}

// record commits what fn returns, however long the ledger cannot: it is for
// what has happened, which no failure may unmake. Where a commit failed and its
// events are in the reopened ledger all the same, they are not appended again:
// the Commit then holds them without receipts, which nobody has. The error is
// that of a host or ledger that was closed, or a transition that is a bug.
func (h *Host) record(fn decision) (*ledger.Commit, error) {
	return h.recordMeanwhile(fn, func(retry <-chan time.Time, again <-chan struct{}) {
		select {
		case <-again:
		case <-retry:
		case <-h.ctx.Done():
		}
	})
}

// recordMeanwhile is record with something else to do while the ledger cannot
// commit: wait is called after each attempt that failed, with what ends it.
func (h *Host) recordMeanwhile(fn decision,
	wait func(retry <-chan time.Time, again <-chan struct{})) (*ledger.Commit, error) {
	const most = time.Second // between attempts on a full disk
	var doubt attempt
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, most) {
		again := h.reopenedSoon()
		if c := h.persisted(&doubt); c != nil {
			return c, nil
		}
		if doubt.events == 0 || h.ctx.Err() != nil {
			c, err := h.decideEnding(h.ctx, func(tip *projector.State, next ledger.Header) ([]*event.Event, error) {
				es, err := fn(tip, next)
				doubt = attempt{next.Seq, next.ID, len(es)}
				return es, err
			})
			if !ledger.CannotCommit(err) || h.ctx.Err() != nil {
				return c, err
			}
			if !errors.Is(err, ledger.ErrFailed) {
				doubt = attempt{} // nothing was written
			}
		}
		retry := time.NewTimer(pause)
		wait(retry.C, again)
		retry.Stop()
	}
}

// attempt is where the events of a commit went, if they went anywhere.
type attempt struct {
	seq    uint64
	id     ulid.ULID
	events int
}

// persisted returns the events of an attempt whose commit failed, if they are
// in the reopened ledger: no other event ever gets the id. It is nil if they
// are not, or while the ledger has not been reopened; the attempt is forgotten
// once it is decided.
func (h *Host) persisted(a *attempt) *ledger.Commit {
	l := h.live.Ledger()
	select {
	case <-l.Failed():
		return nil
	default:
	}
	tried := *a
	*a = attempt{}
	c := &ledger.Commit{}
	for i := range tried.events {
		e, err := l.Get(h.ctx, tried.seq+uint64(i))
		if err != nil || i == 0 && e.ID != tried.id {
			return nil
		}
		c.Events = append(c.Events, e)
	}
	if tried.events == 0 {
		return nil
	}
	return c
}

func (h *Host) reopenedSoon() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reopened
}
