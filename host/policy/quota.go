package policy

import (
	"errors"
	"fmt"
	"maps"
	"time"
)

// The contract's numbers.
const (
	DefaultBackground = 8                 // concurrent background and persistent processes of a principal
	MaxBackground     = 256               // what a profile may ask for
	DefaultSync       = 4                 // sync spawns at once a principal (the project's own bound)
	DefaultPerCapsule = 8                 // concurrent background and persistent processes of a capsule
	DefaultMaxTimeout = 300 * time.Second // of a sync spawn: a profile's max_timeout_secs

	// DefaultInvocation is the longest an invocation takes (the project's own
	// bound): a sync spawn that takes all its time, and as much again.
	DefaultInvocation = 2 * DefaultMaxTimeout

	// Process ids that are retained, of live processes and of ended ones that
	// are not released.
	RetainedPerPrincipal = 32  // of a principal in one capsule
	RetainedPerCapsule   = 256 // of a capsule, over all principals
)

// anonymous is the principal that stands for nobody in particular.
const anonymous = "anonymous"

// ErrQuota is in the chain of the error for a quota out of range.
var ErrQuota = errors.New("quota out of range")

// Quotas are what one principal may use at once.
type Quotas struct {
	// Background bounds the concurrent background and persistent processes,
	// over all capsules and both tiers together: 0 to 256.
	Background uint32

	// Sync bounds the sync spawns that run at once.
	Sync uint32

	// MaxTimeout is how long a sync spawn may run.
	MaxTimeout time.Duration
}

// DefaultQuotas returns the quotas of a principal without a profile of its
// own.
func DefaultQuotas() Quotas {
	return Quotas{Background: DefaultBackground, Sync: DefaultSync, MaxTimeout: DefaultMaxTimeout}
}

// Config is the policy as the operator configured it.
type Config struct {
	Default    Quotas            // of principals that are not named
	Principals map[string]Quotas // by id
	PerCapsule uint32            // concurrent background and persistent processes of a capsule
}

// DefaultConfig returns the policy of a daemon that was not configured.
func DefaultConfig() Config {
	return Config{Default: DefaultQuotas(), PerCapsule: DefaultPerCapsule}
}

// Policy is the rules in force. It is immutable but for its gate, and safe for
// concurrent use.
type Policy struct {
	gate   *Gate
	config Config
}

// New checks the configuration and returns the policy. The gate may be changed
// later: capsules come and go.
func New(c Config, g *Gate) (*Policy, error) {
	if err := c.Default.check("default"); err != nil {
		return nil, err
	}
	for id, q := range c.Principals {
		if !ValidPrincipal(id) {
			return nil, fmt.Errorf("principal %q: want 1 to 64 of [A-Za-z0-9_-]", id)
		}
		if err := q.check("principal " + id); err != nil {
			return nil, err
		}
	}
	c.Principals = maps.Clone(c.Principals)
	return &Policy{gate: g, config: c}, nil
}

func (q Quotas) check(whose string) error {
	if q.Background > MaxBackground {
		return fmt.Errorf("%s: max_background_processes %d: %w: want 0 to %d", whose, q.Background, ErrQuota, MaxBackground)
	}
	if q.MaxTimeout <= 0 {
		return fmt.Errorf("%s: max_timeout %v: %w: want more than 0", whose, q.MaxTimeout, ErrQuota)
	}
	return nil
}

// Gate returns the capability gate.
func (p *Policy) Gate() *Gate { return p.gate }

// Quotas returns what a principal may use at once.
func (p *Policy) Quotas(principal string) Quotas {
	if q, ok := p.config.Principals[principal]; ok {
		return q
	}
	return p.config.Default
}

// PerCapsule returns how many concurrent background and persistent processes a
// capsule may have.
func (p *Policy) PerCapsule() uint32 { return p.config.PerCapsule }

// Check runs the checks that come before all others: the principal's policy,
// then the capsule's gate. The rule is what allowed the command, or what it
// lacked.
func (p *Policy) Check(principal, capsule, command string) (rule string, ok bool) {
	if !ValidPrincipal(principal) {
		return "principal: not 1 to 64 of [A-Za-z0-9_-]", false
	}
	return p.gate.Allow(capsule, command)
}

// ValidPrincipal tells whether id is a principal's: 1 to 64 of [A-Za-z0-9_-].
func ValidPrincipal(id string) bool {
	for i := range len(id) {
		c := id[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return len(id) >= 1 && len(id) <= 64
}

// Authenticated tells whether a principal is somebody: a process that outlives
// calls needs an owner who can be told from others.
func Authenticated(principal string) bool {
	return ValidPrincipal(principal) && principal != anonymous
}
