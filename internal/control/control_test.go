package control

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-os/processledger/internal/query"
	"github.com/astrid-os/processledger/ledger/event"
)

// stream is what a server sends: an event, a sign of life, the end.
func stream(t *testing.T, end func(*FrameWriter) error) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewFrameWriter(&b)
	e := &event.Event{Header: event.Header{Seq: 7}, Prev: 3, Body: &event.DaemonStopped{Reason: "x"}}
	if err := errors.Join(w.Event(e), w.Progress(8), end(w)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readAll(b []byte) (seqs []uint64, through uint64, last error) {
	s := &Stream{body: io.NopCloser(nil), frames: frameReader{r: bufio.NewReader(bytes.NewReader(b))}}
	for e, err := range s.All() {
		if err != nil {
			return seqs, s.Through(), err
		}
		seqs = append(seqs, e.Seq, e.Prev)
	}
	return seqs, s.Through(), nil
}

func TestFramesEnd(t *testing.T) {
	b := stream(t, func(w *FrameWriter) error { return w.End(9) })
	if seqs, through, err := readAll(b); err != nil || through != 9 || !slices.Equal(seqs, []uint64{7, 3}) {
		t.Errorf("got %v through %d, %v", seqs, through, err)
	}
}

func TestFramesFail(t *testing.T) {
	b := stream(t, func(w *FrameWriter) error { return w.Error(Errorf(CodeGap, "gap").WithHint("do")) })
	_, through, err := readAll(b)
	var e *Error
	if !errors.As(err, &e) || *e != (Error{CodeGap, "gap", "do"}) || through != 8 {
		t.Errorf("got %v through %d", err, through)
	}
}

// TestFramesCutAnywhere holds that no cut of a stream passes for its end.
func TestFramesCutAnywhere(t *testing.T) {
	b := stream(t, func(w *FrameWriter) error { return w.End(9) })
	for n := range b {
		if _, _, err := readAll(b[:n]); !errors.Is(err, ErrCutOff) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
}

func TestFramesRefuseNonsense(t *testing.T) {
	for _, b := range []string{
		"?\x00\x00\x00\x00", "E\x7f\x00\x00\x00", "E\x00\x00\x00\x02ab", "E\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00\xff",
		"P\x00\x00\x00\x01a", "X\x00\x00\x00\x01a",
	} {
		if _, _, err := readAll([]byte(b)); err == nil || errors.Is(err, ErrCutOff) {
			t.Errorf("%q: %v", b, err)
		}
	}
}

func TestEventsQueryRoundTrip(t *testing.T) {
	for _, q := range []EventsQuery{
		{}, {Reverse: true, Limit: 3}, {Follow: true, Filter: query.Filter{FromSeq: 5, Principals: []string{"a"}}},
	} {
		got, err := ParseEventsQuery(q.Values(), query.Now{})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(&q, got); d != "" {
			t.Error(d)
		}
	}
	if _, err := ParseEventsQuery(url.Values{"limit": {"x"}}, query.Now{}); err == nil {
		t.Error("a limit that is no number is taken")
	}
}

// TestEveryCodeHasARuling holds that no code falls back to "failed" unseen.
func TestEveryCodeHasARuling(t *testing.T) {
	for code, r := range rulings {
		e := Errorf(code, "m")
		if e.Status() != r.status || r.status < 400 || ExitCode(e) != r.exit || r.exit == 0 {
			t.Errorf("%s: %+v", code, r)
		}
	}
	if e := Errorf("of a newer daemon", "m"); e.Status() != 500 || ExitCode(e) != 1 {
		t.Error("an unknown code is no failure")
	}
	if ExitCode(nil) != 0 || ExitCode(errors.New("x")) != 1 || ExitCode(&UnreachableError{}) != 4 {
		t.Error("exit codes of other errors")
	}
}

// TestWaitReadyTellsWhatItSaw holds that a wait in vain says why.
func TestWaitReadyTellsWhatItSaw(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := NewClient(filepath.Join(t.TempDir(), "s")).WaitReady(ctx)
	if err == nil || !strings.Contains(err.Error(), "unreachable") {
		t.Errorf("got %v", err)
	}
}
