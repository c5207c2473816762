package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/astrid-os/processledger/ledger/event"
)

var plainLook = Look{Zone: time.UTC}

func TestStory(t *testing.T) {
	for name, events := range map[string][]*event.Event{"story.txt": aStory(), "refusal.txt": aRefusal(), "persistent.txt": aServer()} {
		var out bytes.Buffer
		if err := NewStory(events).Write(&out, plainLook); err != nil {
			t.Fatal(err)
		}
		golden(t, name, out.Bytes())
	}
}

func TestStoryJSON(t *testing.T) {
	for name, events := range map[string][]*event.Event{"story.json": aStory(), "persistent.json": aServer()} {
		b, err := json.MarshalIndent(NewStory(events).View(), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, append(b, '\n'))
	}
}

// TestStoryHolds: a watch that was disarmed is none, and another tier has
// nothing to hold.
func TestStoryHolds(t *testing.T) {
	events := aServer()
	s := NewStory(append(events, make1(99, guestScope(), &event.WatchDisarmed{Reason: "guest"})))
	if v := s.View().Persistent; v == nil || v.Watch != nil || s.Watch != nil {
		t.Errorf("after a disarm it is watched: %+v", v)
	}
	if v := NewStory(aStory()).View().Persistent; v != nil {
		t.Errorf("a background process has %+v", v)
	}
	if v := NewStory(aRefusal()).View(); v.Persistent != nil || v.Files == nil {
		t.Errorf("a refusal has %+v", v)
	}
}

// TestStoryOfUnreadInput: there is no digest of what was too large to be read.
func TestStoryOfUnreadInput(t *testing.T) {
	events := aRefusal()
	events[0].Body.(*event.SpawnRequested).StdinBytes = 5 << 20
	var out bytes.Buffer
	if err := NewStory(events).Write(&out, plainLook); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "input      5.0 MiB, too large to be read\n") {
		t.Errorf("story:\n%s", &out)
	}
}

// TestStoryStatus holds the word for each way a process can stand.
func TestStoryStatus(t *testing.T) {
	for want, body := range map[string]event.Body{
		"requested": &event.SpawnRequested{},
		"refused":   &event.SpawnDecided{Outcome: event.OutcomeRefused},
		"granted":   &event.SpawnDecided{Outcome: event.OutcomeGranted},
		"aborted":   &event.SpawnAborted{},
		"failed":    &event.SpawnFailed{},
		"running":   &event.ProcessStarted{},
		"lost":      &event.ProcessLost{},
		"exited":    &event.ProcessExited{},
		"unknown":   &event.OrphanEnded{},
	} {
		s := NewStory([]*event.Event{make1(1, guestScope(), body)})
		if got := s.Status(); got != want {
			t.Errorf("status after %s: %q, want %q", body.Kind(), got, want)
		}
		if s.End() == "" {
			t.Errorf("end after %s is empty", body.Kind())
		}
	}
}

func TestWhy(t *testing.T) {
	manifest := make1(1, event.Scope{Capsule: "builder"}, &event.CapsuleLoaded{Manifest: "[capabilities]\nhost_process = [\"sleep\"]\n", ManifestSHA256: sum(8)})
	config := make1(2, event.Scope{}, &event.PolicyChanged{Subject: "config", Text: "[quotas]\x1b[31m\n", SHA256: sum(9)})
	var out bytes.Buffer
	for _, y := range []Why{
		{Story: NewStory(aStory()), Policies: []*event.Event{config, manifest}, Complete: true},
		{Story: NewStory(aRefusal())},
		{Story: NewStory(aStory()[2:])},
	} {
		if err := y.Write(&out, plainLook); err != nil {
			t.Fatal(err)
		}
		out.WriteString("----\n")
	}
	golden(t, "why.txt", out.Bytes())
}
