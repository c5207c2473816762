package query

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/event"
)

// A little ledger: two processes of alice, a refused one of bob, interleaved.
const epoch = 1_774_787_415_000 // ms of the first event; one event a second

var (
	gitID  = ulid.MustParse("01JQG1T0000000000000000001")
	makeID = ulid.MustParse("01JQMAKE000000000000000002")
	shID   = ulid.MustParse("01JQGSH0000000000000000003")
)

func ledger() []*event.Event {
	zero, kill := int32(0), int32(9)
	alice := event.Scope{Principal: "alice", Capsule: "builder", CallID: "c1"}
	bob := event.Scope{Principal: "bob", Capsule: "shell", CallID: "c2"}
	on := func(s event.Scope, h ulid.ULID) event.Scope { s.Handle = h; return s }
	es := []*event.Event{
		{Scope: event.Scope{}, Body: &event.DaemonStarted{Version: "v1"}},
		{Scope: on(alice, gitID), Body: &event.SpawnRequested{Command: "/usr/bin/git"}},
		{Scope: on(alice, gitID), Body: &event.SpawnDecided{Outcome: event.OutcomeGranted}},
		{Scope: on(alice, makeID), Body: &event.SpawnRequested{Command: "make", Tier: event.TierPersistent, Label: "asked"}},
		{Scope: on(alice, makeID), Body: &event.SpawnDecided{Outcome: event.OutcomeGranted, Label: "granted"}},
		{Scope: on(bob, shID), Body: &event.SpawnRequested{Command: "sh", Tier: event.TierSync, Label: "shell"}},
		{Scope: on(bob, shID), Body: &event.SpawnDecided{Outcome: event.OutcomeRefused, Code: "quota"}},
		{Scope: on(alice, gitID), Body: &event.ProcessExited{Exit: event.Exit{Code: &zero}}},
		{Scope: on(alice, makeID), Body: &event.ProcessExited{Exit: event.Exit{Signal: &kill}}},
		{Scope: alice, Body: &event.InvocationFinished{Outcome: "ok"}},
	}
	last := map[ulid.ULID]uint64{}
	for i, e := range es {
		e.Seq = uint64(i + 1)
		_ = e.ID.SetTime(epoch + 1000*uint64(i))
		if !e.Handle.IsZero() {
			e.Prev, last[e.Handle] = last[e.Handle], e.Seq
		}
	}
	return es
}

func at(i int) time.Time { return time.UnixMilli(epoch + 1000*int64(i-1)) }

// cases tell which seqs of the little ledger a filter means.
var cases = []struct {
	name   string
	filter Filter
	want   []uint64
}{
	{"everything", Filter{}, []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
	{"principal", Filter{Principals: []string{"bob"}}, []uint64{6, 7}},
	{"two principals", Filter{Principals: []string{"bob", "alice"}}, []uint64{2, 3, 4, 5, 6, 7, 8, 9, 10}},
	{"capsule and principal", Filter{Principals: []string{"bob"}, Capsules: []string{"builder"}}, nil},
	{"call id", Filter{CallIDs: []string{"c2"}}, []uint64{6, 7}},
	{"seqs", Filter{FromSeq: 3, ToSeq: 5}, []uint64{3, 4, 5}},
	{"times, both inclusive", Filter{Since: at(3), Until: at(5)}, []uint64{3, 4, 5}},
	{"command by its last element", Filter{Commands: []string{"git"}}, []uint64{2, 3, 8}},
	{"whole command", Filter{Commands: []string{"/usr/bin/git"}}, []uint64{2, 3, 8}},
	{"two commands", Filter{Commands: []string{"git", "make"}}, []uint64{2, 3, 4, 5, 8, 9}},
	{"command is no prefix", Filter{Commands: []string{"gi"}}, nil},
	{"command after its request", Filter{Commands: []string{"git"}, FromSeq: 5}, []uint64{8}},
	{"command and outcome", Filter{Commands: []string{"git", "make"}, Outcomes: []string{"failure"}}, []uint64{9}},
	{"tier", Filter{Tiers: []event.Tier{event.TierPersistent}}, []uint64{4, 5, 9}},
	{"two tiers", Filter{Tiers: []event.Tier{event.TierPersistent, event.TierSync}}, []uint64{4, 5, 6, 7, 9}},
	{"tier and command", Filter{Tiers: []event.Tier{event.TierSync}, Commands: []string{"make"}}, nil},
	{"label as asked for", Filter{Labels: []string{"shell"}}, []uint64{6, 7}},
	{"label as granted", Filter{Labels: []string{"granted"}}, []uint64{5, 9}},
	{"label that was not granted", Filter{Labels: []string{"asked"}}, []uint64{4}},
	{"handle", Filter{Handles: []string{makeID.String()}}, []uint64{4, 5, 9}},
	{"prefix of a handle, lower case", Filter{Handles: []string{"01jqm"}}, []uint64{4, 5, 9}},
	{"kind", Filter{Kinds: []event.Kind{event.KindProcessExited}}, []uint64{8, 9}},
	{"refused", Filter{Outcomes: []string{"refused"}}, []uint64{7}},
	{"code of a refusal", Filter{Outcomes: []string{"quota"}}, []uint64{7}},
	{"success or signal", Filter{Outcomes: []string{"exit:0", "signal:9"}}, []uint64{8, 9}},
	{"outcome of an invocation", Filter{Outcomes: []string{"ok"}}, []uint64{10}},
	{"text", Filter{Text: `"principal":"bo+b"`}, []uint64{6, 7}},
}

func TestMatcher(t *testing.T) {
	es := ledger()
	get := func(_ context.Context, seq uint64) (*event.Event, error) { return es[seq-1], nil }
	for _, c := range cases {
		for _, reverse := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, reverse %v", c.name, reverse), func(t *testing.T) {
				stream := slices.Clone(es)
				if reverse {
					slices.Reverse(stream)
				}
				got := matched(t, c.filter, get, stream)
				slices.Sort(got)
				if d := cmp.Diff(c.want, got); d != "" {
					t.Error(d)
				}
			})
		}
	}
}

func matched(t *testing.T, f Filter, get Getter, stream []*event.Event) (seqs []uint64) {
	t.Helper()
	m, err := NewMatcher(f, get)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range stream {
		ok, err := m.Match(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			seqs = append(seqs, e.Seq)
		}
	}
	return seqs
}

// TestCommandWithoutGetter holds that a whole stream needs no getter, and that
// without one nothing is guessed.
func TestCommandWithoutGetter(t *testing.T) {
	f := Filter{Commands: []string{"git"}}
	if got := matched(t, f, nil, ledger()); !slices.Equal(got, []uint64{2, 3, 8}) {
		t.Errorf("whole stream: %v", got)
	}
	if got := matched(t, f, nil, ledger()[4:]); got != nil {
		t.Errorf("tail: %v", got)
	}
}

// TestCommandIsLookedUpOncePerHandle holds that a long history of one process
// does not cost a chain a time.
func TestCommandIsLookedUpOncePerHandle(t *testing.T) {
	es := ledger()
	n := 0
	get := func(_ context.Context, seq uint64) (*event.Event, error) { n++; return es[seq-1], nil }
	m, err := NewMatcher(Filter{Commands: []string{"git"}}, get)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if ok, err := m.Match(t.Context(), es[7]); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if n != 2 {
		t.Errorf("%d events were read, want 2", n)
	}
}

func TestAmbiguousPrefix(t *testing.T) {
	m, err := NewMatcher(Filter{Handles: []string{"01JQG"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var last error
	for _, e := range ledger() {
		if _, err := m.Match(t.Context(), e); err != nil {
			last = err
		}
	}
	var amb *AmbiguousError
	if !errors.As(last, &amb) || amb.First != gitID || amb.Other != shID {
		t.Errorf("got %v", last)
	}
}

func TestCheck(t *testing.T) {
	for want, f := range map[string]Filter{
		`handle "01JQU"`:         {Handles: []string{"01JQU"}},
		"a handle id is empty":   {Handles: []string{""}},
		"longer than a ULID":     {Handles: []string{strings.Repeat("0", 27)}},
		`outcome "won" is not`:   {Outcomes: []string{"won"}},
		`outcome "exit:x" is no`: {Outcomes: []string{"exit:x"}},
		"text: error parsing":    {Text: "("},
		"before it begins (seq":  {FromSeq: 5, ToSeq: 4},
		"before it begins (20":   {Since: at(5), Until: at(4)},
	} {
		if err := f.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want one with %q", err, want)
		}
	}
}

func TestValuesRoundTrip(t *testing.T) {
	f := Filter{
		Since: at(1).UTC(), Until: at(9).UTC().Add(1), FromSeq: 2, ToSeq: 7,
		Principals: []string{"alice", "bob"}, Capsules: []string{"builder"}, CallIDs: []string{"c 1&="}, Commands: []string{"git"},
		Tiers: []event.Tier{event.TierPersistent}, Labels: []string{"a b", ""},
		Handles: []string{"01JQ"}, Kinds: []event.Kind{event.KindSpawnDecided}, Outcomes: []string{"refused"}, Text: "a.b",
	}
	got, err := FromValues(f.Values(), Now{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(f, got); d != "" {
		t.Error(d)
	}
	for name := range f.Values() {
		if !IsParam(name) {
			t.Errorf("%s is not known as a parameter", name)
		}
	}
	if empty, err := FromValues(nil, Now{}); err != nil || !cmp.Equal(empty, Filter{}) {
		t.Errorf("empty: %+v, %v", empty, err)
	}
}
