package demo

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/event"
)

// told makes an account of one program that the ledger tells by these bodies.
func told(p *program, bodies ...event.Body) *account {
	a := newAccount()
	scope := event.Scope{Principal: p.principal, Handle: ulid.Make()}
	request := &event.SpawnRequested{Command: "sh", Args: []string{"-c", p.script, "sh", p.nonce}}
	for _, b := range append([]event.Body{request, &event.SpawnDecided{Outcome: event.OutcomeGranted}}, bodies...) {
		a.take(&event.Event{Scope: scope, Body: b}, []*program{p})
	}
	return a
}

func exited(code int32) *event.ProcessExited {
	return &event.ProcessExited{Exit: event.Exit{Code: &code}}
}

// TestLosses holds that the comparison finds each way in which ledger and
// witness can differ.
func TestLosses(t *testing.T) {
	started := &event.ProcessStarted{}
	for _, c := range []struct {
		name    string
		witness string
		bodies  []event.Body
		want    string // in the loss; "": none
	}{
		{"all is well", "start\nend\n", []event.Body{started, exited(7)}, ""},
		{"killed before its end", "start\n", []event.Body{started, exited(1)}, ""},
		{"a start is missing", "start\n", nil, "started: true"},
		{"a start is invented", "", []event.Body{started, exited(7)}, "started: false"},
		{"an exit is missing", "start\nend\n", []event.Body{started}, "has no exit"},
		{"an exit is wrong", "start\nend\n", []event.Body{started, exited(0)}, "another exit"},
		{"an end is unknown", "start\nend\n", []event.Body{started, &event.ProcessLost{Reason: "reboot"}}, "does not know how it ended"},
		{"an end is open", "start\n", []event.Body{started}, "does not know that it ended"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &site{data: t.TempDir()}
			p := newProgram("alice", 1, "exit 7", 7, 0)
			s.programs = []*program{p}
			if err := os.MkdirAll(filepath.Dir(s.path(p)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(s.path(p), []byte(c.witness), 0o644); err != nil {
				t.Fatal(err)
			}
			lost := strings.Join(told(p, c.bodies...).losses(s), "\n")
			if (c.want == "") != (lost == "") || !strings.Contains(lost, c.want) {
				t.Errorf("losses %q, want %q in them", lost, c.want)
			}
		})
	}
}

func TestWrap(t *testing.T) {
	got := wrap("one two  three\nfour", 9)
	if strings.Join(got, "|") != "one two|three|four" {
		t.Errorf("got %q", got)
	}
}
