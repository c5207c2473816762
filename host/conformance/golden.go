package conformance

import (
	"os"
	"slices"
	"strings"
)

// Compare tells where a run's answers differ from the expected ones, empty if
// nowhere: the whole case up to the first difference, what was wanted and what
// came.
func (c *Case) Compare(got [][]string) string {
	var b strings.Builder
	for i, st := range c.Steps {
		b.WriteString(strings.Join(st.text, "\n") + "\n")
		if i < len(got) && slices.Equal(got[i], st.Want) {
			writeAnswer(&b, "  ", st.Want)
			continue
		}
		writeAnswer(&b, "- ", st.Want)
		if i < len(got) {
			writeAnswer(&b, "+ ", got[i])
		}
		return b.String()
	}
	return ""
}

func writeAnswer(b *strings.Builder, indent string, lines []string) {
	for _, l := range lines {
		b.WriteString(indent + l + "\n")
	}
}

// Accept makes a run's answers the expected ones, but not a second time: what
// one guest gets is what all must get. It tells whether it did.
func (c *Case) Accept(got [][]string) bool {
	if c.accepted {
		return false
	}
	c.accepted = true
	for i := range got {
		c.Steps[i].Want = got[i]
	}
	return true
}

// Rewrite writes the case files anew, with the expected answers that the cases
// have now.
func Rewrite(cases []*Case, write func(name string, text []byte, mode os.FileMode) error) error {
	var order []string
	text := map[string]*strings.Builder{}
	for _, c := range cases {
		b := text[c.File]
		if b == nil {
			b = &strings.Builder{}
			text[c.File] = b
			order = append(order, c.File)
		}
		b.WriteString(strings.Join(c.head, "\n") + "\n")
		for _, st := range c.Steps {
			b.WriteString(strings.Join(st.text, "\n") + "\n")
			writeAnswer(b, "  ", st.Want)
		}
	}
	for _, f := range order {
		if err := write(f, []byte(text[f].String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
