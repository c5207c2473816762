package ui

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Style is how a piece of text stands out.
type Style int

// The styles.
const (
	Plain Style = iota
	Bold
	Dim
	Good
	Warn
	Bad
)

var codes = map[Style]string{Bold: "1", Dim: "2", Good: "32", Warn: "33", Bad: "31"}

// Palette paints text, or leaves it alone when Colour is false.
type Palette struct{ Colour bool }

// NewPalette decides about colour for output to w: never with NO_COLOR set,
// always with CLICOLOR_FORCE set to anything but 0, else on a terminal that is
// not "dumb".
func NewPalette(w io.Writer, getenv func(string) string) Palette {
	switch force := getenv("CLICOLOR_FORCE"); {
	case getenv("NO_COLOR") != "":
		return Palette{}
	case force != "" && force != "0":
		return Palette{Colour: true}
	}
	return Palette{Colour: IsTerminal(w) && getenv("TERM") != "dumb"}
}

// Paint returns s in the style.
func (p Palette) Paint(style Style, s string) string {
	code, ok := codes[style]
	if !p.Colour || !ok || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// IsTerminal tells whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Width returns the columns of the terminal w, 0 if it is none.
func Width(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	n, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return n
}
