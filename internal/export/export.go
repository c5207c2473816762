package export

import (
	"bufio"
	"io"

	"github.com/astrid-os/processledger/ledger/event"
)

// Writer writes a stream of events in one format.
type Writer interface {
	// Write adds one event. What it wrote may stay in a buffer.
	Write(e *event.Event) error

	// Flush passes on what is buffered. A header that no event preceded is
	// written too.
	Flush() error
}

// jsonLines writes one event a line in its documented JSON form.
type jsonLines struct {
	w      *bufio.Writer
	fields []string
	buf    []byte
}

// NewJSONLines returns a writer of JSON lines. Of each event only the named
// top-level fields are written, in that order; none means all.
func NewJSONLines(w io.Writer, fields ...string) Writer {
	return &jsonLines{w: bufio.NewWriter(w), fields: fields}
}

// Write implements Writer.
func (j *jsonLines) Write(e *event.Event) error {
	j.buf = e.AppendJSON(j.buf[:0])
	if len(j.fields) > 0 {
		var err error
		if j.buf, err = Pick(j.buf, j.fields); err != nil {
			return err
		}
	}
	_, err := j.w.Write(append(j.buf, '\n'))
	return err
}

// Flush implements Writer.
func (j *jsonLines) Flush() error { return j.w.Flush() }
