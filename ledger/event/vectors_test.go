package event

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var rewrite = flag.Bool("rewrite", false, "write testdata and docs anew; look at the diff before committing it")

const vectorFile = "testdata/vectors.txt"

// oldVectorFile holds the vectors as they stood before the kinds of the
// persistent tier and their fields were added. It is never rewritten.
const oldVectorFile = "testdata/vectors-1.txt"

const vectorHead = `# Vectors of the wire format: for each event a name, its JSON form (json.go)
# and its bytes as hex. A second implementation of event.proto can be tested
# with them. "full" has every field set, "empty" none, "example" is as a ledger
# could hold it; the rest show one rule each. A line that changes here is a
# change of the format: bytes already stored would read differently.
`

type vector struct {
	name, json string
	wire       []byte
}

// vectorEvents returns the events of the vectors, by name.
func vectorEvents() (names []string, events map[string]*Event) {
	events = make(map[string]*Event)
	add := func(name string, e *Event) {
		names = append(names, name)
		events[name] = e
	}
	for i, e := range exampleEvents() {
		k := Kinds()[i]
		add(k.String()+" full", (&filler{source: counted{}}).event(k))
		add(k.String()+" empty", &Event{Body: newBody(k)})
		add(k.String()+" example", e)
	}
	add("kind this build does not know", &Event{Body: &Unknown{Of: 77, Raw: []byte{0x0a, 2, 'h', 'i'}}})
	add("kind this build does not know, empty", &Event{Body: &Unknown{Of: 77}})
	add("fields this build does not know", &Event{
		unknown: "\x7a\x02hi",
		Body:    &SpawnRequested{Limits: &Limits{rest: rest{"\x28\x07"}}, rest: rest{"\xa2\x06\x02hi"}},
	})
	add("enum value this build does not know", &Event{Scope: Scope{Actor: Actor{Kind: 9}}, Body: &SpawnRequested{Tier: 12}})
	add("optional zero", &Event{Body: &ProcessExited{Exit: Exit{Code: new(int32(0))}}})
	add("negative numbers", &Event{Header: Header{Wall: -1, Boottime: -2}, Body: &ProcessLost{Witness: &Exit{Code: new(int32(-3))}}})
	add("largest numbers", &Event{Header: Header{Seq: 1<<64 - 1, Wall: 1<<63 - 1}, Body: &SignalSent{Signal: 1<<32 - 1}})
	add("optional part, empty", &Event{Body: &SpawnRequested{Limits: &Limits{}}})
	add("texts in a list may be empty", &Event{Body: &SpawnRequested{Args: []string{"", "ä", ""}}})
	add("body longer than 127 bytes", &Event{Body: &PolicyChanged{Text: strings.Repeat("x", 200)}})
	return names, events
}

func readVectors(t testing.TB) []vector {
	t.Helper()
	return readVectorFile(t, vectorFile)
}

func readVectorFile(t testing.TB, name string) []vector {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var vs []vector
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch key {
		case "name":
			vs = append(vs, vector{name: value})
		case "json":
			vs[len(vs)-1].json = value
		case "wire":
			if vs[len(vs)-1].wire, err = hex.DecodeString(value); err != nil {
				t.Fatal(err)
			}
		}
	}
	return vs
}

// TestVectors: the events still have the bytes and the JSON form that the
// vectors say, and both read back to the same event.
func TestVectors(t *testing.T) {
	names, events := vectorEvents()
	if *rewrite {
		out := bytes.NewBufferString(vectorHead)
		for _, name := range names {
			fmt.Fprintf(out, "\nname: %s\njson: %s\nwire: %x\n", name, events[name].AppendJSON(nil), Encode(events[name]))
		}
		if err := os.WriteFile(vectorFile, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	vs := readVectors(t)
	if len(vs) != len(names) {
		t.Errorf("%d vectors, %d events: run go test -rewrite", len(vs), len(names))
	}
	for _, v := range vs {
		t.Run(v.name, func(t *testing.T) { checkVector(t, v, events[v.name]) })
	}
}

func checkVector(t *testing.T, v vector, want *Event) {
	if want == nil {
		t.Fatal("no event has this name")
	}
	if b := Encode(want); !bytes.Equal(b, v.wire) {
		t.Errorf("encoded as\n%x, the vector says\n%x", b, v.wire)
	}
	if err := Check(want); err != nil {
		t.Error(err)
	}
	e, err := Decode(v.wire)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, e, compareAll, equateEmpty); d != "" {
		t.Errorf("the bytes read back differently (-want +got):\n%s", d)
	}
	if j := string(e.AppendJSON(nil)); j != v.json {
		t.Errorf("JSON\n%s, the vector says\n%s", j, v.json)
	}
	var back Event
	if err := json.Unmarshal([]byte(v.json), &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, &back, compareAll, equateEmpty); d != "" {
		t.Errorf("the JSON reads back differently (-want +got):\n%s", d)
	}
}

// TestOldVectors: fields and kinds are only ever added. What was written before
// reads as it did, also by the keys of its JSON form, and encodes to the same
// bytes.
func TestOldVectors(t *testing.T) {
	for _, v := range readVectorFile(t, oldVectorFile) {
		t.Run(v.name, func(t *testing.T) {
			e, err := Decode(v.wire)
			if err != nil {
				t.Fatal(err)
			}
			if b := Encode(e); !bytes.Equal(b, v.wire) {
				t.Errorf("encodes as\n%x, was\n%x", b, v.wire)
			}
			var was, is any
			if err := errors.Join(json.Unmarshal([]byte(v.json), &was), json.Unmarshal(e.AppendJSON(nil), &is)); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(was, common(was, is)); d != "" {
				t.Errorf("its JSON was different (-was +is):\n%s", d)
			}
		})
	}
}

// common returns is without the keys that was does not have.
func common(was, is any) any {
	a, ok := was.(map[string]any)
	b, both := is.(map[string]any)
	if !ok || !both {
		return is
	}
	out := map[string]any{}
	for key, value := range b {
		if before, had := a[key]; had {
			out[key] = common(before, value)
		}
	}
	return out
}

// TestEveryKind: each kind has a name that parses back, a body of its own, and
// its vectors.
func TestEveryKind(t *testing.T) {
	_, events := vectorEvents()
	for _, k := range Kinds() {
		if got, err := ParseKind(k.String()); err != nil || got != k {
			t.Errorf("ParseKind(%q) = %v, %v", k.String(), got, err)
		}
		body := newBody(k)
		if _, is := body.(*Unknown); is || body.Kind() != k {
			t.Errorf("%s has body %T, which says it is %s", k, body, body.Kind())
		}
		for _, what := range []string{" full", " empty", " example"} {
			if e := events[k.String()+what]; e == nil || e.Kind() != k {
				t.Errorf("no vector %q", k.String()+what)
			}
		}
	}
	if len(makers) != len(kindNames) {
		t.Errorf("%d kinds have a body, %d a name", len(makers), len(kindNames))
	}
}
