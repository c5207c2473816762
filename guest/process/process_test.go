//go:build !wasip1

package process

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/astrid-os/processledger/guest/internal/mem"
)

func TestErrors(t *testing.T) {
	fault := mem.NewBlock(44)
	fault.U8(4, uint8(Unknown))
	mem.Give(fault, 8, []byte("no such program"))
	if err := liftError(fault.View(), 4); err.Error() != "process: unknown: no such program" || errors.Is(err, ErrQuota) {
		t.Error(err)
	}
	wide := mem.NewBlock(136)
	wide.U8(8, uint8(NoSuchProcess))
	if err := liftError(wide.View(), 8); !errors.Is(err, ErrNoSuchProcess) || err.Error() != "process: no-such-process" {
		t.Error(err)
	}
	if err := error(ErrCancelled); !errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		t.Error("cancelled is context.Canceled")
	}
	if err := error(ErrWaitTimeout); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		t.Error("wait-timeout is context.DeadlineExceeded")
	}
	code, signal := int32(1), int32(9)
	for want, e := range map[string]Exit{"exit status 1": {Code: &code}, "signal 9": {Signal: &signal}, "end unknown": {}} {
		if e.String() != want || e.Success() {
			t.Errorf("%s, want %s", e, want)
		}
	}
	if Code(11).String() != "unknown" || Code(12).String() != "code 12" || Exited.String() != "exited" || Phase(9).String() != "phase 9" {
		t.Error("names of codes and phases")
	}
}

// TestRefusedHere holds that what would trap the capsule, or means nothing, does
// not reach the host.
func TestRefusedHere(t *testing.T) {
	for what, r := range map[string]Request{
		"command":        {Cmd: "\xff"},
		"argument":       {Cmd: "x", Args: []string{"\xff"}},
		"variable":       {Cmd: "x", Env: []Var{{"A", "\xff"}}},
		"label":          {Cmd: "x", Label: "\xff"},
		"file, neither":  {Cmd: "x", Files: []File{{}}},
		"file, both":     {Cmd: "x", Files: []File{{Env: "A", Path: "/a"}}},
		"file's path":    {Cmd: "x", Files: []File{{Path: "/\xff"}}},
		"negative bound": {Cmd: "x", Idle: -1},
	} {
		if _, err := SpawnPersistent(r); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	bad := ID("\xff")
	if _, err := bad.Status(); !errors.Is(err, ErrNoSuchProcess) {
		t.Error(err)
	}
	if _, err := ID("x").ReadSince(Stdout, "\xff", 1); !errors.Is(err, ErrNoSuchProcess) {
		t.Error(err)
	}
	if err := bad.Release(); err != nil {
		t.Error(err)
	}
	if err := ID("x").Watch("\xff"); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

func TestOutside(t *testing.T) {
	var h Handle
	id := ID("x")
	_, spawned := SpawnBackground(Request{Cmd: "x"})
	_, logs := h.ReadLogs()
	_, waited := h.Wait()
	_, subscribed := h.SubscribeExit()
	_, followed := h.Follow(io.Discard, nil)
	_, status := id.Status()
	_, many := StatusMany(id)
	_, list := List("")
	_, stopped := id.Stop()
	for i, err := range []error{spawned, logs, waited, subscribed, followed, status, many, list, stopped, id.Watch(""), id.Release(), h.CloseStdin()} {
		if !errors.Is(err, ErrOutside) {
			t.Errorf("%d: %v", i, err)
		}
	}
	h.Drop()
}

// pipe stands for a process's stdin that takes small pieces.
type pipe struct {
	bytes.Buffer
	most   int
	fail   error
	closed bool
}

func (p *pipe) WriteStdin(b []byte) (int, error) {
	if p.fail != nil && p.Len() >= p.most {
		return 0, p.fail
	}
	return p.Write(b)
}

func (p *pipe) CloseStdin() error { p.closed = true; return nil }

func TestStdin(t *testing.T) {
	text := []byte(strings.Repeat("0123456789", 250_000))
	var whole pipe
	if n, err := (stdin{&whole}).Write(text); n != len(text) || err != nil || !bytes.Equal(whole.Bytes(), text) {
		t.Errorf("wrote %d of %d bytes: %v", n, len(text), err)
	}
	broken := pipe{most: MaxWrite, fail: ErrClosed}
	if n, err := (stdin{&broken}).Write(text); n != MaxWrite || !errors.Is(err, ErrClosed) {
		t.Errorf("wrote %d bytes: %v", n, err)
	}
	if n, err := (stdin{&broken}).Write(nil); n != 0 || !errors.Is(err, ErrClosed) {
		t.Error("an empty write asks too")
	}
	if (stdin{&whole}).Close() != nil || !whole.closed {
		t.Error("close closes")
	}
}

// script is a stream that has been read before: what each ReadSince returns.
type script struct {
	t      *testing.T
	chunks []Chunk
	ended  bool
	waits  []time.Duration
}

func (s *script) tail(from Cursor) *Tail { return &Tail{cursor: from, read: s.read, wait: s.wait} }

func (s *script) read(_ Stream, from Cursor, most uint32) (Chunk, error) {
	if len(s.chunks) == 0 {
		s.t.Fatal("read after the end")
	}
	c := s.chunks[0]
	if from == "foreign" {
		return Chunk{}, ErrNoSuchProcess
	}
	if n := int(most); len(c.Data) > n {
		s.chunks[0].Data = c.Data[n:]
		return Chunk{Data: c.Data[:n], Next: "between"}, nil
	}
	s.chunks = s.chunks[1:]
	return c, nil
}

func (s *script) wait(d time.Duration) (Exit, error) {
	s.waits = append(s.waits, d)
	if s.ended {
		return Exit{}, nil
	}
	return Exit{}, ErrWaitTimeout
}

func TestTail(t *testing.T) {
	s := &script{t: t, chunks: []Chunk{
		{Data: []byte("one "), Next: "c1"}, {Next: "c1"}, {Next: "c1"}, {Next: "c1"},
		{Data: []byte("two "), Next: "c2", Dropped: 7}, {Data: []byte("three"), Next: "c3"}, {Next: "c3", EOF: true},
	}}
	tail := s.tail("")
	var all bytes.Buffer
	for c, err := range tail.Chunks() {
		if err != nil {
			t.Fatal(err)
		}
		all.Write(c.Data)
	}
	if all.String() != "one two three" || tail.Dropped() != 7 || tail.Cursor() != "c3" {
		t.Errorf("followed %q, %d dropped, to %q", &all, tail.Dropped(), tail.Cursor())
	}
	if len(s.waits) != 3 || s.waits[0] != minPause || s.waits[2] != 4*minPause {
		t.Errorf("waited %v", s.waits)
	}
	if _, err := tail.Next(1); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

func TestTailWithin(t *testing.T) {
	s := &script{t: t, chunks: []Chunk{{Next: "c1"}, {Next: "c1"}, {Next: "c1"}, {Data: []byte("late"), Next: "c2", EOF: true}}}
	tail := s.tail("c1")
	if _, err := tail.NextWithin(9, 0); !errors.Is(err, ErrWaitTimeout) || len(s.waits) != 0 {
		t.Errorf("%v after waits of %v", err, s.waits)
	}
	if _, err := tail.NextWithin(9, minPause/2); !errors.Is(err, ErrWaitTimeout) || len(s.waits) != 1 || s.waits[0] != minPause/2 {
		t.Errorf("%v after waits of %v", err, s.waits)
	}
	if c, err := tail.NextWithin(9, 0); err != nil || string(c.Data) != "late" || tail.Cursor() != "c2" {
		t.Errorf("%q, %v", c.Data, err)
	}
	if _, err := tail.NextWithin(9, 0); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func TestTailReads(t *testing.T) {
	s := &script{t: t, ended: true, chunks: []Chunk{
		{Dropped: 3, Next: "c1"}, {Data: []byte("a line\nanother"), Next: "c2"}, {Next: "c2"}, {Data: []byte("\n"), Next: "c3", EOF: true},
	}}
	text, err := io.ReadAll(io.LimitReader(s.tail("c0"), 100))
	if err != nil || string(text) != "a line\nanother\n" {
		t.Errorf("read %q: %v", text, err)
	}
	s.chunks = []Chunk{{}}
	for _, err := range s.tail("foreign").Chunks() {
		if !errors.Is(err, ErrNoSuchProcess) {
			t.Error(err)
		}
	}
}
