package control

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
)

// maxLine is the longest line that a reader takes: a message of the bus with a
// payload of 1 MiB, each byte escaped as six, or a chunk of output in base64.
const maxLine = 8 << 20

// EndLine is the last line of a stream of lines. One that ends without it was
// cut off.
type EndLine struct {
	End   bool   `json:"end,omitempty"`
	Error *Error `json:"error,omitempty"` // why it ends early
}

// Lines is an answer of JSON values, a line each, while it arrives.
type Lines[T any] struct {
	body io.ReadCloser
	scan *bufio.Scanner
}

func newLines[T any](body io.ReadCloser) *Lines[T] {
	l := &Lines[T]{body: body, scan: bufio.NewScanner(body)}
	l.scan.Buffer(make([]byte, 0, 64<<10), maxLine)
	return l
}

// All yields the values once, in their order. After an error, which may be
// [ErrCutOff], nothing follows.
func (l *Lines[T]) All() iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		for l.scan.Scan() {
			v, end, err := l.value(l.scan.Bytes())
			if end || !yield(v, err) || err != nil {
				return
			}
		}
		err := l.scan.Err()
		if err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			err = ErrCutOff
		}
		yield(nil, err)
	}
}

// value reads one line; end is true of an end without an error.
func (l *Lines[T]) value(line []byte) (v *T, end bool, err error) {
	var e EndLine
	if err := json.Unmarshal(line, &e); err != nil {
		return nil, false, fmt.Errorf("line of the answer: %w", err)
	}
	if e.Error != nil {
		return nil, false, e.Error
	}
	if e.End {
		return nil, true, nil
	}
	v = new(T)
	if err := json.Unmarshal(line, v); err != nil {
		return nil, false, fmt.Errorf("line of the answer: %w", err)
	}
	return v, false, nil
}

// Close ends the stream.
func (l *Lines[T]) Close() error { return l.body.Close() }
