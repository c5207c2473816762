package control

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// TestLinesEnd: an end line ends the values, an error line fails them, and
// without either they were cut off.
func TestLinesEnd(t *testing.T) {
	for _, c := range []struct {
		name, text string
		values     []string
		want       func(error) bool
	}{
		{"end", `{"next":"1"}` + "\n" + `{"next":"2"}` + "\n" + `{"end":true}` + "\n" + `{"next":"3"}` + "\n", []string{"1", "2"},
			func(err error) bool { return err == nil }},
		{"error", `{"next":"1"}` + "\n" + `{"error":{"code":"quota","message":"m"}}` + "\n", []string{"1"},
			func(err error) bool { var e *Error; return errors.As(err, &e) && e.Code == CodeQuota }},
		{"cut off", `{"next":"1"}` + "\n", []string{"1"}, func(err error) bool { return errors.Is(err, ErrCutOff) }},
		{"cut in a line", `{"next":"1"}` + "\n" + `{"ne`, []string{"1"}, func(err error) bool { return err != nil }},
		{"nothing", "", nil, func(err error) bool { return errors.Is(err, ErrCutOff) }},
		{"too long", `"` + strings.Repeat("x", maxLine+1), nil, func(err error) bool { return err != nil && !errors.Is(err, ErrCutOff) }},
	} {
		l := newLines[LogChunk](io.NopCloser(strings.NewReader(c.text)))
		var got []string
		var last error
		for v, err := range l.All() {
			if last = err; err == nil {
				got = append(got, v.Next)
			}
		}
		if !slices.Equal(got, c.values) || !c.want(last) {
			t.Errorf("%s: %v, %v", c.name, got, last)
		}
	}
}
