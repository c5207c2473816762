package bind

import (
	"testing"
	"unicode/utf8"
)

// TestLossy: the examples of the Unicode Standard, section 3.9, and the corners
// of its table of well-formed sequences.
func TestLossy(t *testing.T) {
	const r = "\uFFFD"
	for in, want := range map[string]string{
		"":                                     "",
		"plain é €":                            "plain é €",
		"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41": r + r + r + r + r + r + r + r + "A",
		"\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41": r + r + r + r + r + r + r + r + "A",
		"\xf4\x91\x92\x93\xff\x41\x80\xbf\x42": r + r + r + r + r + "A" + r + r + "B",
		"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41": r + r + r + r + "A",
		"\xe2\x82":                             r, // a euro sign cut short is one
		"\xf0\x9f\x98":                         r,
		"\xf0\x9f\x98x":                        r + "x",
		"a\xffb":                               "a" + r + "b",
		"\xef\xbf\xbd\xff":                     r + r, // one that was written, one for the bad byte
	} {
		if got := lossy([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// FuzzLossy: what is well-formed stays, and the result always is.
func FuzzLossy(f *testing.F) {
	f.Add([]byte("a\xe2\x82b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got := lossy(b)
		if !utf8.ValidString(got) {
			t.Errorf("%q is not UTF-8", got)
		}
		if utf8.Valid(b) && got != string(b) {
			t.Errorf("%q became %q", b, got)
		}
	})
}
