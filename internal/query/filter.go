package query

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/event"
)

// Filter says which events are meant. Fields of one sort are alternatives,
// fields of different sorts must all fit; an empty field fits everything.
type Filter struct {
	// Since and Until bound the order time, which is what ranges search: both
	// inclusive, to the millisecond. Zero: no bound.
	Since, Until time.Time

	// FromSeq and ToSeq bound the seq, both inclusive. 0: no bound.
	FromSeq, ToSeq uint64

	Principals []string
	Capsules   []string
	CallIDs    []string

	// Commands fit every event of a process whose request names one of them,
	// by the whole command or by its last path element.
	Commands []string

	// Tiers and Labels fit every event of a process that was asked for in one
	// of the tiers, or that has one of the labels: as granted, else as asked
	// for. The request itself has only the label asked for.
	Tiers  []event.Tier
	Labels []string

	// Handles are ULIDs or prefixes of them, in either case of letters.
	Handles []string

	Kinds []event.Kind

	// Outcomes are names that [Outcomes] gives to an event: "refused",
	// "quota", "exit:1", …
	Outcomes []string

	// Text is a regular expression on the event's JSON. Empty: no such test.
	Text string
}

// Check tells what is wrong with the filter: a malformed handle, expression,
// outcome, or a range that ends before it begins.
func (f *Filter) Check() error {
	for _, h := range f.Handles {
		if err := checkPrefix(h); err != nil {
			return err
		}
	}
	for _, o := range f.Outcomes {
		if err := checkOutcome(o); err != nil {
			return err
		}
	}
	if _, err := regexp.Compile(f.Text); err != nil {
		return fmt.Errorf("text: %w", err)
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && f.Until.Before(f.Since) {
		return fmt.Errorf("the range ends (%s) before it begins (%s)", f.Until.Format(time.RFC3339), f.Since.Format(time.RFC3339))
	}
	if f.ToSeq != 0 && f.ToSeq < f.FromSeq {
		return fmt.Errorf("the range ends (seq %d) before it begins (seq %d)", f.ToSeq, f.FromSeq)
	}
	return nil
}

// crockford are the letters of a ULID.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// checkPrefix tells what is wrong with a ULID or its prefix.
func checkPrefix(h string) error {
	bad := strings.IndexFunc(strings.ToUpper(h), func(r rune) bool { return !strings.ContainsRune(crockford, r) })
	switch {
	case h == "":
		return fmt.Errorf("a handle id is empty; give its first characters at least")
	case len(h) > ulid.EncodedSize:
		return fmt.Errorf("handle %q is longer than a ULID, which has %d characters", h, ulid.EncodedSize)
	case bad >= 0:
		return fmt.Errorf("handle %q is no ULID and no beginning of one: %q cannot be part of it", h, h[bad:bad+1])
	}
	return nil
}

// within tells whether e lies in the bounds of time and seq.
func (f *Filter) within(e *event.Event) bool {
	ms := int64(e.ID.Time())
	return (f.FromSeq == 0 || e.Seq >= f.FromSeq) && (f.ToSeq == 0 || e.Seq <= f.ToSeq) &&
		(f.Since.IsZero() || ms >= f.Since.UnixMilli()) && (f.Until.IsZero() || ms <= f.Until.UnixMilli())
}

// scoped tells whether e's scope and kind fit.
func (f *Filter) scoped(e *event.Event) bool {
	return oneOf(f.Principals, e.Principal) && oneOf(f.Capsules, e.Capsule) && oneOf(f.CallIDs, e.CallID) &&
		(len(f.Kinds) == 0 || slices.Contains(f.Kinds, e.Kind()))
}

func oneOf(want []string, have string) bool { return len(want) == 0 || slices.Contains(want, have) }

// ofProcess tells whether the filter asks what an event of the process alone
// does not tell.
func (f *Filter) ofProcess() bool { return len(f.Commands)+len(f.Tiers)+len(f.Labels) > 0 }

// process is what such a filter asks of.
type process struct {
	command string
	tier    event.Tier
	label   string // as asked for
	granted string // label as granted, if it was
}

// take notes what e tells of it.
func (p *process) take(e *event.Event) {
	switch b := e.Body.(type) {
	case *event.SpawnRequested:
		p.command, p.tier, p.label = b.Command, b.Tier, b.Label
	case *event.SpawnDecided:
		p.granted = b.Label
	}
}

// processFits tells whether an event of kind k of the process is meant. In a
// stream that runs forward nobody knows at the request what will be granted, so
// it is not asked there, in either direction.
func (f *Filter) processFits(p *process, k event.Kind) bool {
	label := p.label
	if k != event.KindSpawnRequested && p.granted != "" {
		label = p.granted
	}
	return (len(f.Commands) == 0 || f.commandFits(p.command)) && oneOf(f.Labels, label) &&
		(len(f.Tiers) == 0 || slices.Contains(f.Tiers, p.tier))
}

// commandFits tells whether a request for command is meant.
func (f *Filter) commandFits(command string) bool {
	return slices.Contains(f.Commands, command) || slices.Contains(f.Commands, command[strings.LastIndexByte(command, '/')+1:])
}
