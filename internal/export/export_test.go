package export

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/event"
)

func sample() *event.Event {
	e := &event.Event{
		Header: event.Header{Seq: 7, ID: ulid.MustParse("01KKNTQ2CN0000000000000007"), Wall: 1_773_480_413_589_000_000, Boottime: 5, BootID: [16]byte{1}},
		Scope:  event.Scope{Principal: "alice", Capsule: "builder", Handle: ulid.MustParse("01KKNTQ2CN0000000000000068"), CallID: "=HYPERLINK(\"http://x\")"},
		Body:   &event.SpawnRequested{Tier: event.TierSync, Command: "git", Args: []string{"a,b", "c\nd"}},
	}
	e.Actor = event.Actor{Kind: event.ActorOperator, UID: 1000, Role: "@role"}
	return e
}

func write(t *testing.T, w Writer, events ...*event.Event) {
	t.Helper()
	for _, e := range events {
		if err := w.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
}

func TestJSONLinesAreTheEventsOwnJSON(t *testing.T) {
	var out bytes.Buffer
	write(t, NewJSONLines(&out), sample(), sample())
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines", len(lines))
	}
	want, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		if diff := cmp.Diff(string(want), line); diff != "" {
			t.Error(diff)
		}
	}
}

func TestJSONLinesOfSomeFields(t *testing.T) {
	var out bytes.Buffer
	write(t, NewJSONLines(&out, "kind", "seq", "prev"), sample())
	if got, want := out.String(), `{"kind":"spawn.requested","seq":7,"prev":null}`+"\n"; got != want {
		t.Errorf("got %s want %s", got, want)
	}
}

// TestEventFieldsAreComplete holds that no field of an event's JSON is missing
// from the list that is offered.
func TestEventFieldsAreComplete(t *testing.T) {
	var have map[string]json.RawMessage
	if err := json.Unmarshal(sample().AppendJSON(nil), &have); err != nil {
		t.Fatal(err)
	}
	for name := range have {
		if !slices.Contains(EventFields, name) {
			t.Errorf("field %q is not in EventFields", name)
		}
	}
	if err := CheckFields([]string{"seq", "nope"}, EventFields); err == nil || !strings.Contains(err.Error(), `"nope"`) {
		t.Errorf("CheckFields: %v", err)
	}
}

func TestCSV(t *testing.T) {
	var out bytes.Buffer
	write(t, NewCSV(&out), sample())
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Columns, rows[0]); diff != "" {
		t.Error(diff)
	}
	cell := map[string]string{}
	for i, name := range rows[0] {
		cell[name] = rows[1][i]
	}
	for name, want := range map[string]string{
		"seq": "7", "time": "2026-03-14T09:26:53.589Z", "kind": "spawn.requested", "principal": "alice",
		"call_id": `'=HYPERLINK("http://x")`, "actor": "operator", "actor_uid": "1000", "actor_role": "'@role",
	} {
		if cell[name] != want {
			t.Errorf("%s: %q, want %q", name, cell[name], want)
		}
	}
	var body struct {
		Command string
		Args    []string
	}
	if err := json.Unmarshal([]byte(cell["body"]), &body); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a,b", "c\nd"}, body.Args); diff != "" {
		t.Error(diff)
	}
}

func TestCSVWithoutEventsHasItsHeader(t *testing.T) {
	var out bytes.Buffer
	write(t, NewCSV(&out))
	if got := out.String(); !strings.HasPrefix(got, "seq,id,time,") || strings.Count(got, "\n") != 1 {
		t.Errorf("got %q", got)
	}
}

func TestDefuse(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "plain": "plain", "=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@x": "'@x", "\tx": "'\tx", "\r=x": "'\r=x", "a=b": "a=b",
	} {
		if got := defuse(in); got != want {
			t.Errorf("defuse(%q) = %q, want %q", in, got, want)
		}
	}
}
