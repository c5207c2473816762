package bind

import (
	"strings"
	"unicode/utf8"
)

// lossy makes text of bytes that a program wrote: each maximal ill-formed
// subpart becomes one U+FFFD, as Unicode recommends and as guests written in
// Rust, JavaScript or Python know it. (strings.ToValidUTF8 makes one of a
// whole run.)
func lossy(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var s strings.Builder
	s.Grow(len(b) + 16)
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			n = illFormed(b)
		}
		s.WriteRune(r)
		b = b[n:]
	}
	return s.String()
}

func lossyString(t string) string { return lossy([]byte(t)) }

// illFormed returns how many bytes at the start of b, which begins with an
// ill-formed sequence, are one maximal subpart: the longest start of a
// well-formed sequence, or else one byte.
func illFormed(b []byte) int {
	want, low, high := 0, byte(0x80), byte(0xbf) // continuation bytes; bounds of the first
	switch c := b[0]; {
	case c >= 0xc2 && c <= 0xdf:
		want = 1
	case c >= 0xe0 && c <= 0xef:
		want = 2
		if c == 0xe0 {
			low = 0xa0 // below: an overlong form
		} else if c == 0xed {
			high = 0x9f // above: a surrogate
		}
	case c >= 0xf0 && c <= 0xf4:
		want = 3
		if c == 0xf0 {
			low = 0x90 // below: an overlong form
		} else if c == 0xf4 {
			high = 0x8f // above: beyond U+10FFFF
		}
	}
	n := 1
	for ; n <= want && n < len(b) && b[n] >= low && b[n] <= high; n++ {
		low, high = 0x80, 0xbf
	}
	return n
}
