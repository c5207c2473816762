package report

import (
	"encoding/hex"
	"fmt"

	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/ledger/event"
)

// injected shows a file that came with a spawn; its content is not recorded.
func injected(f *event.InjectedFile) string {
	at := "at " + f.Path
	if f.EnvKey != "" {
		at = "named by " + f.EnvKey
	}
	return fmt.Sprintf("%s %s, keyed digest %x", ui.Bytes(f.Bytes), at, f.Digest)
}

// holdingFacts are the facts that only a persistent process has.
func (s *Story) holdingFacts(add func(name, value string)) {
	d := s.Decision
	if d.Outcome != event.OutcomeGranted || s.Request == nil || s.Request.Tier != event.TierPersistent {
		return
	}
	if len(d.ProcessIDHash) > 0 {
		add("id", "known to its capsule by an id with the keyed hash "+hex.EncodeToString(d.ProcessIDHash))
	}
	add("input", s.inputFact())
	add("output", fmt.Sprintf("kept in rings of %s; %s", ui.Bytes(uint64(d.RingBytes)), overflows.say(d.Overflow.String())))
	if d.IdleNano > 0 {
		add("idle", "ended once nobody has touched it for "+nanos(d.IdleNano))
	}
	if d.RetentionNano > 0 {
		add("kept", nanos(d.RetentionNano)+" after its end")
	}
	if s.Attached > 0 {
		add("attached", ui.Count(s.Attached, "time"))
	}
	if s.Watch != nil {
		add("watched", "under "+watchName(s.Watch))
	}
}

func (s *Story) inputFact() string {
	switch {
	case !s.Decision.KeepStdinOpen:
		return ""
	case s.StdinClosed != nil:
		return fmt.Sprintf("stayed open, closed after %s", ui.Bytes(s.StdinClosed.Bytes))
	}
	return "stays open"
}

// watchName is what the topics of a watch end with.
func watchName(b *event.WatchArmed) string {
	if b.Suffix == "" {
		return "its id"
	}
	return b.Suffix
}
