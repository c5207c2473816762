package ui

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Safe returns s with everything that a terminal could act on, or that could
// fool a reader, made visible: control characters, escape sequences, line
// ends, bidirectional overrides, other invisible runes and malformed UTF-8
// become \n, \x1b, \u202e and the like. The result is one line.
func Safe(s string) string {
	if isSafe(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		appendSafe(&b, s[i:i+n], r)
		i += n
	}
	return b.String()
}

func isSafe(s string) bool {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return false
			}
		}
		if !strconv.IsPrint(r) {
			return false
		}
	}
	return true
}

func appendSafe(b *strings.Builder, raw string, r rune) {
	switch {
	case r == utf8.RuneError && len(raw) == 1:
		fmt.Fprintf(b, `\x%02x`, raw[0])
	case strconv.IsPrint(r):
		b.WriteString(raw)
	case r == '\n':
		b.WriteString(`\n`)
	case r == '\t':
		b.WriteString(`\t`)
	case r == '\r':
		b.WriteString(`\r`)
	case r < 0x80:
		fmt.Fprintf(b, `\x%02x`, r)
	case r < 0x10000:
		fmt.Fprintf(b, `\u%04x`, r)
	default:
		fmt.Fprintf(b, `\U%08x`, r)
	}
}

// SafeText is [Safe] for text of several lines, such as a policy: line ends
// and tabs stay, the rest is made visible.
func SafeText(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		fields := strings.Split(strings.TrimSuffix(line, "\r"), "\t")
		for j, f := range fields {
			fields[j] = Safe(f)
		}
		lines[i] = strings.Join(fields, "\t")
	}
	return strings.Join(lines, "\n")
}

// bare are the characters that a word may have without needing quotes.
const bare = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-"

// Shell returns words as a POSIX shell would read them, quoted where needed;
// words with invisible characters are written as $'…'. It is safe to show.
func Shell(words ...string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = shellWord(w)
	}
	return strings.Join(quoted, " ")
}

func shellWord(w string) string {
	switch {
	case w == "":
		return "''"
	case !isSafe(w):
		return "$'" + Safe(strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(w)) + "'"
	case strings.Trim(w, bare) == "":
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}

// Cut shortens s to at most n runes, the last of which is then an ellipsis.
// An n below 1 means no bound.
func Cut(s string, n int) string {
	if n < 1 || utf8.RuneCountInString(s) <= n {
		return s
	}
	runes := []rune(s)
	return string(runes[:n-1]) + "…"
}
