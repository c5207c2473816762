package event

import (
	"fmt"
	"strconv"
	"strings"
)

// names are the names of an enum's values, by number; of is what a value
// without a name is called: "tier" gives "tier-9". Zero is "unknown".
type names struct {
	of     string
	values []string
}

var (
	actorNames    = names{"actor", []string{"unknown", "guest", "operator", "timer", "host", "shim"}}
	tierNames     = names{"tier", []string{"unknown", "sync", "background", "persistent"}}
	outcomeNames  = names{"outcome", []string{"unknown", "granted", "refused"}}
	overflowNames = names{"overflow", []string{"unknown", "drop-oldest", "backpressure"}}
	targetNames   = names{"target", []string{"unknown", "program", "tree"}}
)

// name returns the name of a value, "tier-9" for one that has none.
func (n names) name(v uint32) string {
	if int(v) < len(n.values) {
		return n.values[v]
	}
	return n.of + "-" + strconv.FormatUint(uint64(v), 10)
}

// parse is the inverse of name.
func (n names) parse(s string) (uint32, error) {
	for v, name := range n.values {
		if name == s {
			return uint32(v), nil
		}
	}
	if digits, ok := strings.CutPrefix(s, n.of+"-"); ok {
		v, err := strconv.ParseUint(digits, 10, 31)
		if err == nil {
			return uint32(v), nil
		}
	}
	return 0, fmt.Errorf("unknown %s %q: one of %s", n.of, s, strings.Join(n.values[1:], ", "))
}

// String returns the sort of actor's name, as in the JSON form.
func (k ActorKind) String() string { return actorNames.name(uint32(k)) }

// ParseActorKind is the inverse of [ActorKind.String].
func ParseActorKind(s string) (ActorKind, error) {
	v, err := actorNames.parse(s)
	return ActorKind(v), err
}

// String returns the tier's name, as in the JSON form.
func (t Tier) String() string { return tierNames.name(uint32(t)) }

// ParseTier is the inverse of [Tier.String].
func ParseTier(s string) (Tier, error) {
	v, err := tierNames.parse(s)
	return Tier(v), err
}

// String returns the outcome's name, as in the JSON form.
func (o Outcome) String() string { return outcomeNames.name(uint32(o)) }

// String returns the policy's name, as in the JSON form.
func (o Overflow) String() string { return overflowNames.name(uint32(o)) }

// String returns the target's name, as in the JSON form.
func (t SignalTarget) String() string { return targetNames.name(uint32(t)) }
