package ipc

import "time"

// The allowance of a source, which is one capsule on behalf of one principal
// that the host knows, or of all that it claims to speak for: it refills steadily, and what is unused is kept for a burst. The contract has
// a code for going beyond it and no number; these are far above what tool
// results and requests come to, and keep a loop from taking the daemon's time.
const (
	MessagesPerSecond = 1000
	MessageBurst      = 2000
	BytesPerSecond    = 16 << 20
	ByteBurst         = 16 << 20
)

// most bounds how many allowances are remembered before those that are whole
// again are forgotten.
const mostAllowances = 1024

// sourceKey names a source. All that a capsule publishes under principals of its
// own choice has one allowance: with one for each it could choose another name
// for every message, and never use one up.
type sourceKey struct {
	source, principal string
	claims            bool
}

func sourceOf(m *Message) sourceKey {
	if m.Principal.Kind == Claimed {
		return sourceKey{source: m.SourceID, claims: true}
	}
	return sourceKey{source: m.SourceID, principal: m.Principal.Name}
}

// allowance is what a source may still publish.
type allowance struct {
	messages, bytes float64
	at              time.Time
}

func (a *allowance) refill(now time.Time) {
	d := max(0, now.Sub(a.at).Seconds())
	a.messages = min(MessageBurst, a.messages+d*MessagesPerSecond)
	a.bytes = min(ByteBurst, a.bytes+d*BytesPerSecond)
	a.at = now
}

// spend takes a message from the allowance of its source; false if that is used
// up. The caller holds b.mu.
func (b *Bus) spend(m *Message) bool {
	now, key := b.now(), sourceOf(m)
	a := b.allowances[key]
	if a == nil {
		b.forget(now)
		a = &allowance{messages: MessageBurst, bytes: ByteBurst, at: now}
		b.allowances[key] = a
	}
	a.refill(now)
	if a.messages < 1 || a.bytes < float64(m.size()) {
		return false
	}
	a.messages--
	a.bytes -= float64(m.size())
	return true
}

func (b *Bus) forget(now time.Time) {
	if len(b.allowances) < mostAllowances {
		return
	}
	for key, a := range b.allowances {
		if a.refill(now); a.messages == MessageBurst && a.bytes == ByteBurst {
			delete(b.allowances, key)
		}
	}
}
