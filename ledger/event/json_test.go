package event

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestJSONRoundTrip: the JSON form is valid and holds the whole event, also
// what this build does not know.
func TestJSONRoundTrip(t *testing.T) {
	kinds := append(Kinds(), 77)
	rapid.Check(t, func(t *rapid.T) {
		want := (&filler{source: drawn{t}}).event(rapid.SampledFrom(kinds).Draw(t, "kind"))
		want.Prev = rapid.Uint64().Draw(t, "prev")
		want.unknown = string(rapid.SliceOf(rapid.Byte()).Draw(t, "unknown"))
		want.Body.keep(string(rapid.SliceOf(rapid.Byte()).Draw(t, "kept")))
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got := new(Event)
		if err := json.Unmarshal(b, got); err != nil {
			t.Fatalf("%v in %s", err, b)
		}
		if d := cmp.Diff(want, got, compareAll, equateEmpty); d != "" {
			t.Fatalf("%s read back differs (-want +got):\n%s", b, d)
		}
	})
}
