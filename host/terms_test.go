package host

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/astrid-os/processledger/ledger/event"
)

func ptr[T any](v T) *T { return &v }

// TestTermsAreClamped holds the contract's numbers of the persistent tier.
func TestTermsAreClamped(t *testing.T) {
	hours := func(n int) uint64 { return uint64((time.Duration(n) * time.Hour).Milliseconds()) }
	cases := map[string]struct {
		r    Request
		want terms
	}{
		"defaults": {Request{}, terms{lifetime: 6 * time.Hour, idle: 30 * time.Minute, retention: 5 * time.Minute, ring: 1 << 20}},
		"as asked": {
			Request{MaxLifetimeMS: ptr(uint64(1500)), IdleTimeoutMS: ptr(uint64(2500)), ExitRetentionMS: ptr(uint64(3500)), LogRingBytes: ptr(uint32(5000)), KeepStdinOpen: ptr(true)},
			terms{lifetime: 1500 * time.Millisecond, idle: 2500 * time.Millisecond, retention: 3500 * time.Millisecond, ring: 5000, keepStdin: true},
		},
		"too much": {
			Request{MaxLifetimeMS: ptr(hours(7)), IdleTimeoutMS: ptr(hours(7)), ExitRetentionMS: ptr(hours(2)), LogRingBytes: ptr(uint32(9 << 20))},
			terms{lifetime: 6 * time.Hour, idle: 6 * time.Hour, retention: time.Hour, ring: 8 << 20},
		},
		"far too much": {
			Request{MaxLifetimeMS: ptr(uint64(math.MaxUint64)), IdleTimeoutMS: ptr(uint64(math.MaxUint64)), ExitRetentionMS: ptr(uint64(math.MaxUint64)), LogRingBytes: ptr(uint32(math.MaxUint32))},
			terms{lifetime: 6 * time.Hour, idle: 6 * time.Hour, retention: time.Hour, ring: 8 << 20},
		},
		"too little": {
			Request{MaxLifetimeMS: ptr(uint64(0)), IdleTimeoutMS: ptr(uint64(1)), ExitRetentionMS: ptr(uint64(0)), LogRingBytes: ptr(uint32(0))},
			terms{lifetime: time.Millisecond, idle: time.Millisecond, retention: time.Millisecond, ring: 4 << 10},
		},
		"backpressure": {
			Request{Overflow: ptr(Backpressure)},
			terms{lifetime: 6 * time.Hour, idle: 30 * time.Minute, retention: 5 * time.Minute, ring: 1 << 20, overflow: event.OverflowBackpressure},
		},
	}
	for name, c := range cases {
		c.r.Cmd = "sh"
		c.want.label = "sh"
		if c.want.overflow == 0 {
			c.want.overflow = event.OverflowDropOldest
		}
		if got := termsOf(&c.r); got != c.want {
			t.Errorf("%s: %+v\nwant %+v", name, got, c.want)
		}
	}
}

func TestLabels(t *testing.T) {
	euro := strings.Repeat("€", 50) // 150 bytes
	cases := []struct {
		label *string
		args  []string
		want  string
	}{
		{nil, []string{"-c", "echo hi"}, "sh -c echo hi"},
		{nil, []string{"a\nb\tc\x1b[31m"}, "sh abc[31m"},
		{ptr("build"), nil, "build"},
		{ptr("a\x00b\u0085c\u2028"), nil, "abc\u2028"},
		{ptr(""), []string{"x"}, "sh x"},
		{ptr("\n\r"), []string{"x"}, "sh x"},
		{ptr(euro), nil, strings.Repeat("€", 42)},
		{ptr(strings.Repeat("a", 128)), nil, strings.Repeat("a", 128)},
		{ptr(strings.Repeat("a", 127) + "é"), nil, strings.Repeat("a", 127)},
		{ptr("\x01" + strings.Repeat("a", 128)), nil, strings.Repeat("a", 128)},
		{nil, []string{strings.Repeat("z", 9000), "y"}, "sh " + strings.Repeat("z", 125)},
	}
	for i, c := range cases {
		got := labelOf(&Request{Cmd: "sh", Args: c.args, Label: c.label})
		if got != c.want || !utf8.ValidString(got) || len(got) > labelMost {
			t.Errorf("case %d: %q, want %q", i, got, c.want)
		}
	}
}

func TestProcessIDs(t *testing.T) {
	one, two := processIDs{[]byte("a key")}, processIDs{[]byte("another")}
	a, b := newID(), newID()
	id := one.of(a)
	if len(id) != 52 || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		t.Errorf("%q is not 52 characters of base32", id)
	}
	if one.of(a) != id || one.of(b) == id || two.of(a) == id {
		t.Error("an id is not that of its handle and key alone")
	}
	hash := string(one.hash(id))
	if hash != string(one.hash(id)) || hash == string(one.hash(one.of(b))) || hash == string(two.hash(id)) || strings.Contains(hash, id) {
		t.Error("a hash is not that of its id and key alone")
	}
	for _, malformed := range []string{"", "x", id[1:], id + "a", strings.ToUpper(id), strings.Repeat("a", 1<<20)} {
		if string(one.hash(malformed)) == hash {
			t.Errorf("%.60q has the hash of an id", malformed)
		}
	}
}
