package host

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

var someCursors = cursors{key: []byte("a key"), id: bytes.Repeat([]byte{7}, 32), stream: Stderr, generation: 42}

func TestCursorsAreReadBackAndBound(t *testing.T) {
	for _, pos := range []uint64{0, 1, 1 << 20, math.MaxUint64} {
		token := someCursors.token(pos)
		if got, ok := someCursors.position(token); !ok || got != pos {
			t.Errorf("%d is read as %d, %v", pos, got, ok)
		}
		for what, change := range map[string]func(*cursors){
			"key":        func(c *cursors) { c.key = []byte("another") },
			"process":    func(c *cursors) { c.id = bytes.Repeat([]byte{8}, 32) },
			"no process": func(c *cursors) { c.id = nil },
			"stream":     func(c *cursors) { c.stream = Stdout },
			"generation": func(c *cursors) { c.generation++ },
		} {
			other := someCursors
			change(&other)
			if _, ok := other.position(token); ok {
				t.Errorf("a cursor of another %s is taken", what)
			}
		}
	}
}

// No token but the one that was given is taken: not with a bit changed, nor in
// another spelling.
func TestCursorsHaveOneSpelling(t *testing.T) {
	token := someCursors.token(12345)
	for i := range len(token) {
		for _, r := range "abcdefghijklmnopqrstuvwxyz234567A1=\n\x00" {
			other := token[:i] + string(r) + token[i+1:]
			if _, ok := someCursors.position(other); ok && other != token {
				t.Fatalf("%q is taken for %q", other, token)
			}
		}
	}
	for _, other := range []string{"", token + "a", token[1:], strings.ToUpper(token), token + "=", token + "\n", " " + token} {
		if _, ok := someCursors.position(other); ok {
			t.Errorf("%q is taken", other)
		}
	}
}

// FuzzCursor holds that whatever a guest says is a position's own token, or none.
func FuzzCursor(f *testing.F) {
	f.Add("")
	f.Add(someCursors.token(0))
	f.Add(strings.Repeat("a", len(someCursors.token(0))))
	f.Fuzz(func(t *testing.T, token string) {
		if pos, ok := someCursors.position(token); ok && token != someCursors.token(pos) {
			t.Errorf("%q is taken for %d", token, pos)
		}
	})
}
