package ui

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// Table collects rows and writes them in columns. Cells pass [Safe].
type Table struct {
	palette Palette
	width   int // columns of the terminal; 0: rows are never cut
	rows    []row
}

type row struct {
	style Style
	cells []string
}

// NewTable returns a table with the header, which may be empty. A width above
// 0 cuts each row to that many columns.
func NewTable(p Palette, width int, header ...string) *Table {
	t := &Table{palette: p, width: width}
	if len(header) > 0 {
		t.Row(Bold, header...)
	}
	return t
}

// Row adds a row in one style.
func (t *Table) Row(style Style, cells ...string) {
	safe := make([]string, len(cells))
	for i, c := range cells {
		safe[i] = Safe(c)
	}
	t.rows = append(t.rows, row{style, safe})
}

// WriteTo writes the table. Colour goes on whole rows after the layout, since
// the layout counts every byte of an escape sequence as a column.
func (t *Table) WriteTo(w io.Writer) (int64, error) {
	var laid bytes.Buffer
	tw := tabwriter.NewWriter(&laid, 0, 0, 2, ' ', 0)
	for _, r := range t.rows {
		fmt.Fprintln(tw, strings.Join(r.cells, "\t"))
	}
	if err := tw.Flush(); err != nil {
		return 0, err
	}
	var out bytes.Buffer
	for i, line := range strings.Split(strings.TrimSuffix(laid.String(), "\n"), "\n") {
		if i < len(t.rows) {
			out.WriteString(t.palette.Paint(t.rows[i].style, t.fit(line)) + "\n")
		}
	}
	return out.WriteTo(w)
}

func (t *Table) fit(line string) string {
	line = strings.TrimRight(line, " ")
	if t.width > 0 && utf8.RuneCountInString(line) > t.width {
		return Cut(line, t.width)
	}
	return line
}
