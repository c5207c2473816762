package serve

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/query"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// events answers /v1/events.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	live, err := s.live()
	if err != nil {
		fail(w, err)
		return
	}
	now := query.Now{Time: time.Now(), Boot: bootTime()}
	q, err := control.ParseEventsQuery(r.URL.Query(), now)
	if err != nil {
		fail(w, control.Errorf(control.CodeUsage, "%v", err))
		return
	}
	sc, err := newScan(r.Context(), live, q)
	if err != nil {
		fail(w, err)
		return
	}
	out := newSink(w, strings.Contains(r.Header.Get("Accept"), control.TypeFrames))
	if err := sc.run(r.Context(), out); err != nil {
		out.fail(s.orStopping(err))
		return
	}
	out.end(sc.through)
}

// orStopping tells a client why its stream ends when the daemon stops.
func (s *Server) orStopping(err error) error {
	if s.base.Err() != nil && errors.Is(err, context.Canceled) || s.makingWay.Load() && errors.Is(err, ledger.ErrClosed) {
		return s.stopping()
	}
	return err
}

// stopping is how a stream ends that the daemon's end has ended.
func (s *Server) stopping() error {
	if s.makingWay.Load() {
		return errMakingWay()
	}
	return control.Errorf(control.CodeUnavailable, "the daemon is stopping")
}

// scan is one walk over the ledger.
type scan struct {
	live     *projector.Live
	q        *control.EventsQuery
	match    *query.Matcher
	from, to uint64 // what the filter's bounds mean as seqs; from > to: nothing
	through  uint64 // the last seq that was looked at
}

// newScan turns times into seqs by binary search.
func newScan(ctx context.Context, live *projector.Live, q *control.EventsQuery) (*scan, error) {
	log := live.Ledger()
	m, err := query.NewMatcher(q.Filter, log.Get)
	if err != nil {
		return nil, err
	}
	sc := &scan{live: live, q: q, match: m}
	first, last := log.Bounds()
	sc.from, sc.to = max(first, q.Filter.FromSeq), last
	if q.Filter.ToSeq != 0 {
		sc.to = min(last, q.Filter.ToSeq)
	}
	if !q.Filter.Since.IsZero() {
		at, err := log.SeqAt(ctx, ms(q.Filter.Since))
		if err != nil {
			return nil, err
		}
		sc.from = max(sc.from, at)
	}
	if !q.Filter.Until.IsZero() {
		after, err := log.SeqAt(ctx, ms(q.Filter.Until)+1)
		if err != nil {
			return nil, err
		}
		sc.to = min(sc.to, max(after, 1)-1)
	}
	return sc, nil
}

// ms is the order time of t; what lies before 1970 is before every event.
func ms(t time.Time) uint64 { return uint64(max(0, t.UnixMilli())) }

// run sends what matches.
func (sc *scan) run(ctx context.Context, out *sink) error {
	if sc.q.Follow {
		return sc.follow(ctx, out)
	}
	if sc.from > sc.to {
		return nil
	}
	events := sc.live.Ledger().Events(ctx, sc.from, sc.to)
	if sc.q.Reverse {
		events = sc.live.Ledger().Reverse(ctx, sc.from, sc.to)
	}
	return sc.send(ctx, events, out, sc.q.Limit)
}

// errEnough ends a scan that has reached its limit.
var errEnough = errors.New("enough")

// send sends the matching ones of events, limit of them at most if it is not 0.
func (sc *scan) send(ctx context.Context, events iter.Seq2[*event.Event, error], out *sink, limit int) error {
	n := 0
	err := sc.each(ctx, events, out, func(e *event.Event) error {
		if err := out.event(e); err != nil {
			return err
		}
		if n++; n == limit {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// each calls fn with the matching ones of events and tells the client how far
// the scan has come.
func (sc *scan) each(ctx context.Context, events iter.Seq2[*event.Event, error], out *sink, fn func(*event.Event) error) error {
	for e, err := range events {
		if err != nil {
			return err
		}
		if sc.q.Follow && sc.past(e) {
			return errEnough
		}
		fits, err := sc.match.Match(ctx, e)
		sc.through = e.Seq
		if err == nil && fits {
			err = fn(e)
		}
		if err != nil {
			return err
		}
		if err := out.scanned(e.Seq, sc.q.Follow && sc.atEnd(e.Seq)); err != nil {
			return err
		}
	}
	return nil
}

// atEnd tells whether nothing follows seq just now.
func (sc *scan) atEnd(seq uint64) bool {
	_, last := sc.live.Ledger().Bounds()
	return seq >= last
}

// follow sends what there is (with a limit: the last of it), then what comes,
// until the client leaves, a bound of the filter is reached, or the daemon
// stops.
func (sc *scan) follow(ctx context.Context, out *sink) error {
	if err := out.flush(); err != nil { // the client learns that it is connected
		return err
	}
	if sc.q.Limit > 0 {
		if err := sc.tail(ctx, out); err != nil {
			return err
		}
		sc.from = max(sc.from, sc.to+1)
	}
	bounded, cancel := untilBound(ctx, sc.q.Filter.Until)
	defer cancel()
	err := sc.each(bounded, sc.live.Ledger().Follow(bounded, sc.from), out, func(e *event.Event) error {
		return out.event(e)
	})
	if errors.Is(err, errEnough) || (bounded.Err() != nil && ctx.Err() == nil) {
		return nil
	}
	return err
}

// tail sends the last of what matches, oldest first.
func (sc *scan) tail(ctx context.Context, out *sink) error {
	if sc.from > sc.to {
		return nil
	}
	var last []*event.Event
	err := sc.each(ctx, sc.live.Ledger().Reverse(ctx, sc.from, sc.to), out, func(e *event.Event) error {
		if last = append(last, e); len(last) == sc.q.Limit {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	slices.Reverse(last)
	for _, e := range last {
		if err := out.event(e); err != nil {
			return err
		}
	}
	return out.flush()
}

// untilBound ends following at the time until, if there is one.
func untilBound(ctx context.Context, until time.Time) (context.Context, context.CancelFunc) {
	if until.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, until.Add(time.Millisecond))
}

// past tells whether e lies beyond the bounds of the filter, so that nothing
// later can match: order times never decrease.
func (sc *scan) past(e *event.Event) bool {
	f := &sc.q.Filter
	return (f.ToSeq != 0 && e.Seq > f.ToSeq) || (!f.Until.IsZero() && e.ID.Time() > ms(f.Until))
}
