package query

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/event"
)

// Getter reads one event by its seq. ledger.Reader's Get is one.
type Getter func(ctx context.Context, seq uint64) (*event.Event, error)

// AmbiguousError says that a prefix stands for more than one handle.
type AmbiguousError struct {
	Prefix       string
	First, Other ulid.ULID
}

// Error names two of the handles.
func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("handle %q is ambiguous: it begins %s and %s at least; give more characters", e.Prefix, e.First, e.Other)
}

// Matcher applies a filter to a stream of events in either direction. It is
// not safe for concurrent use.
type Matcher struct {
	f        Filter
	get      Getter
	text     *regexp.Regexp
	seen     map[ulid.ULID]*process // by handle: what is asked of its process
	prefixes map[string]ulid.ULID   // what each prefix turned out to mean
}

// NewMatcher checks the filter and returns a matcher for one stream. get, if
// not nil, finds the request of a handle whose request is not part of the
// stream (it began earlier, or the stream runs backwards); without it a
// command, tier or label fits only events that follow their request in the
// stream.
func NewMatcher(f Filter, get Getter) (*Matcher, error) {
	if err := f.Check(); err != nil {
		return nil, err
	}
	m := &Matcher{f: f, get: get, seen: map[ulid.ULID]*process{}, prefixes: map[string]ulid.ULID{}}
	if f.Text != "" {
		m.text = regexp.MustCompile(f.Text)
	}
	f.Handles = slices.Clone(f.Handles)
	for i, h := range f.Handles {
		f.Handles[i] = strings.ToUpper(h)
	}
	m.f.Handles = f.Handles
	return m, nil
}

// Match tells whether e is meant. The cheap tests come first. An error is an
// [AmbiguousError], the getter's, or that of making e's JSON.
func (m *Matcher) Match(ctx context.Context, e *event.Event) (bool, error) {
	fits, err := m.process(ctx, e)
	if err != nil || !fits {
		return false, err
	}
	if !m.f.within(e) || !m.f.scoped(e) || !m.outcome(e) {
		return false, nil
	}
	if fits, err := m.handle(e.Handle); err != nil || !fits {
		return false, err
	}
	return m.textFits(e)
}

func (m *Matcher) outcome(e *event.Event) bool {
	if len(m.f.Outcomes) == 0 {
		return true
	}
	return slices.ContainsFunc(Outcomes(e), func(o string) bool { return slices.Contains(m.f.Outcomes, o) })
}

// handle tells whether h has one of the prefixes, and holds that each prefix
// means one handle only.
func (m *Matcher) handle(h ulid.ULID) (bool, error) {
	if len(m.f.Handles) == 0 {
		return true, nil
	}
	if h.IsZero() {
		return false, nil
	}
	text := h.String()
	for _, p := range m.f.Handles {
		if !strings.HasPrefix(text, p) {
			continue
		}
		if seen, ok := m.prefixes[p]; ok && seen != h {
			return false, &AmbiguousError{Prefix: p, First: seen, Other: h}
		}
		m.prefixes[p] = h
		return true, nil
	}
	return false, nil
}

// process tells whether e belongs to a process that is meant. It is asked of
// every event, because a request outside the other bounds still names the
// command of later events.
func (m *Matcher) process(ctx context.Context, e *event.Event) (bool, error) {
	if !m.f.ofProcess() {
		return true, nil
	}
	if e.Handle.IsZero() {
		return false, nil
	}
	p := m.seen[e.Handle]
	if p == nil {
		p = new(process)
		if _, is := e.Body.(*event.SpawnRequested); !is {
			if m.get == nil {
				return false, nil
			}
			if err := m.lookUp(ctx, e, p); err != nil {
				return false, err
			}
		}
		m.seen[e.Handle] = p
	}
	p.take(e)
	return m.f.processFits(p, e.Kind()), nil
}

// lookUp follows the back-pointers of e's handle to its request and notes what
// they tell of the process: nothing if the request was dropped with an old
// segment, or e is of an orphan. The chain of one handle is short.
func (m *Matcher) lookUp(ctx context.Context, e *event.Event, p *process) error {
	p.take(e)
	for at := e; at.Prev != 0; {
		prev, err := m.get(ctx, at.Prev)
		if err != nil {
			return fmt.Errorf("the request of handle %s: %w", e.Handle, err)
		}
		p.take(prev)
		if _, is := prev.Body.(*event.SpawnRequested); is {
			return nil
		}
		at = prev
	}
	return nil
}

func (m *Matcher) textFits(e *event.Event) (bool, error) {
	if m.text == nil {
		return true, nil
	}
	b, err := json.Marshal(e)
	if err != nil {
		return false, err
	}
	return m.text.Match(b), nil
}
