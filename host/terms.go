package host

import (
	"strings"
	"time"
	"unicode"

	"github.com/astrid-os/processledger/ledger/event"
)

// The contract's numbers of the persistent tier.
const (
	lifetimeDefault  = 6 * time.Hour // and ceiling
	idleDefault      = 30 * time.Minute
	idleMost         = 6 * time.Hour
	retentionDefault = 5 * time.Minute
	retentionMost    = time.Hour
	ringLeast        = 4 << 10 // bytes a stream
	ringMost         = 8 << 20
	labelMost        = 128 // bytes
)

// terms are what a persistent process is granted: what the guest asked for,
// clamped.
type terms struct {
	lifetime, idle, retention time.Duration
	ring                      uint32
	label                     string
	keepStdin                 bool
	overflow                  event.Overflow
}

// termsOf clamps. Only an idle timeout of nothing is refused, by validTerms.
func termsOf(r *Request) terms {
	t := terms{
		lifetime:  clampMillis(r.MaxLifetimeMS, lifetimeDefault, lifetimeDefault),
		idle:      clampMillis(r.IdleTimeoutMS, idleDefault, idleMost),
		retention: clampMillis(r.ExitRetentionMS, retentionDefault, retentionMost),
		ring:      ring,
		label:     labelOf(r),
		keepStdin: r.KeepStdinOpen != nil && *r.KeepStdinOpen,
		overflow:  event.OverflowDropOldest,
	}
	if r.LogRingBytes != nil {
		t.ring = min(max(*r.LogRingBytes, ringLeast), ringMost)
	}
	if r.Overflow != nil && *r.Overflow == Backpressure {
		t.overflow = event.OverflowBackpressure
	}
	return t
}

// clampMillis reads a number of milliseconds: none is the default, more than
// the ceiling is the ceiling, and nothing is as little as there is.
func clampMillis(ms *uint64, standard, most time.Duration) time.Duration {
	switch {
	case ms == nil:
		return standard
	case *ms >= uint64(most.Milliseconds()):
		return most
	}
	return time.Duration(max(1, *ms)) * time.Millisecond
}

// validTerms refuses an idle timeout of nothing: the process would be over
// before anybody could use it.
func validTerms(r *Request) *Error {
	if r.IdleTimeoutMS != nil && *r.IdleTimeoutMS == 0 {
		return errorf(InvalidInput, "an idle timeout of 0 would end the process at once; leave it out for %v", idleDefault)
	}
	return nil
}

// labelOf is the name of a process for people: the one that the guest gave, or
// the command line; without control characters, and cut at a rune.
func labelOf(r *Request) string {
	if r.Label != nil {
		if label := cleanLabel(*r.Label); label != "" {
			return label
		}
	}
	var line strings.Builder
	line.WriteString(r.Cmd)
	for _, a := range r.Args {
		if line.Len() > textRoom {
			break // more is cut off anyway
		}
		line.WriteString(" ")
		line.WriteString(a)
	}
	return cleanLabel(line.String())
}

func cleanLabel(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, valid(s))
	return cut(s, labelMost)
}

// askedFor adds what a guest asked for beyond a background process to the
// request as the ledger keeps it. The other tiers ignore it.
func askedFor(b *event.SpawnRequested, r *Request) {
	if r.Label != nil {
		b.Label = cut(*r.Label, textRoom)
	}
	b.KeepStdinOpen, b.RingBytes = r.KeepStdinOpen, r.LogRingBytes
	b.LifetimeMS, b.IdleMS, b.RetentionMS = r.MaxLifetimeMS, r.IdleTimeoutMS, r.ExitRetentionMS
	if r.Overflow == nil {
		return
	}
	b.Overflow = event.OverflowDropOldest
	if *r.Overflow == Backpressure {
		b.Overflow = event.OverflowBackpressure
	}
}
