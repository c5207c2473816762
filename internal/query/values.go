package query

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/astrid-os/processledger/ledger/event"
)

// The names of a filter's parameters in a URL. Those with several values are
// repeated: principal=a&principal=b.
const (
	paramSince     = "since"
	paramUntil     = "until"
	paramFrom      = "from"
	paramTo        = "to"
	paramPrincipal = "principal"
	paramCapsule   = "capsule"
	paramCallID    = "call_id"
	paramCommand   = "command"
	paramHandle    = "handle"
	paramKind      = "kind"
	paramOutcome   = "outcome"
	paramTier      = "tier"
	paramLabel     = "label"
	paramText      = "text"
)

// Values returns the filter as URL parameters, which [FromValues] reads.
func (f *Filter) Values() url.Values {
	v := url.Values{}
	setTime(v, paramSince, f.Since)
	setTime(v, paramUntil, f.Until)
	setSeq(v, paramFrom, f.FromSeq)
	setSeq(v, paramTo, f.ToSeq)
	for name, list := range f.lists() {
		for _, s := range *list {
			v.Add(name, s)
		}
	}
	for _, k := range f.Kinds {
		v.Add(paramKind, k.String())
	}
	for _, t := range f.Tiers {
		v.Add(paramTier, t.String())
	}
	if f.Text != "" {
		v.Set(paramText, f.Text)
	}
	return v
}

// lists are the fields that are lists of strings, by parameter.
func (f *Filter) lists() map[string]*[]string {
	return map[string]*[]string{
		paramPrincipal: &f.Principals, paramCapsule: &f.Capsules, paramCallID: &f.CallIDs,
		paramCommand: &f.Commands, paramLabel: &f.Labels, paramHandle: &f.Handles, paramOutcome: &f.Outcomes,
	}
}

func setTime(v url.Values, name string, t time.Time) {
	if !t.IsZero() {
		v.Set(name, t.UTC().Format(time.RFC3339Nano))
	}
}

func setSeq(v url.Values, name string, n uint64) {
	if n != 0 {
		v.Set(name, strconv.FormatUint(n, 10))
	}
}

// FromValues reads a filter from URL parameters and checks it. Times may be
// written in every form of [ParseTime]. Parameters it does not know are left
// to the caller; see [IsParam].
func FromValues(v url.Values, now Now) (Filter, error) {
	var f Filter
	var err error
	if f.Since, err = getTime(v, paramSince, now); err != nil {
		return f, err
	}
	if f.Until, err = getTime(v, paramUntil, now); err != nil {
		return f, err
	}
	if f.FromSeq, err = getSeq(v, paramFrom); err != nil {
		return f, err
	}
	if f.ToSeq, err = getSeq(v, paramTo); err != nil {
		return f, err
	}
	for name, list := range f.lists() {
		*list = v[name]
	}
	if f.Kinds, err = getKinds(v[paramKind]); err != nil {
		return f, err
	}
	if f.Tiers, err = getTiers(v[paramTier]); err != nil {
		return f, err
	}
	f.Text = v.Get(paramText)
	return f, f.Check()
}

// IsParam reports whether name is a parameter of a filter.
func IsParam(name string) bool {
	switch name {
	case paramSince, paramUntil, paramFrom, paramTo, paramPrincipal, paramCapsule, paramCallID,
		paramCommand, paramTier, paramLabel, paramHandle, paramKind, paramOutcome, paramText:
		return true
	}
	return false
}

func getTime(v url.Values, name string, now Now) (time.Time, error) {
	if !v.Has(name) {
		return time.Time{}, nil
	}
	t, err := ParseTime(v.Get(name), now)
	if err != nil {
		return t, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

func getSeq(v url.Values, name string) (uint64, error) {
	if !v.Has(name) {
		return 0, nil
	}
	n, err := strconv.ParseUint(v.Get(name), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is no seq; a seq is a number from 1", name, v.Get(name))
	}
	return n, nil
}

func getTiers(names []string) ([]event.Tier, error) {
	var tiers []event.Tier
	for _, name := range names {
		t, err := event.ParseTier(name)
		if err != nil {
			return nil, fmt.Errorf("tier: %w", err)
		}
		tiers = append(tiers, t)
	}
	return tiers, nil
}

func getKinds(names []string) ([]event.Kind, error) {
	var kinds []event.Kind
	for _, name := range names {
		k, err := event.ParseKind(name)
		if err != nil {
			return nil, fmt.Errorf("kind: %w", err)
		}
		kinds = append(kinds, k)
	}
	return kinds, nil
}
