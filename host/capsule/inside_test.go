package capsule

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/astrid-os/processledger/host/abi/abitest"
)

// TestTablesAreCapped: a guest's table.grow cannot take the host's memory, and
// the module is otherwise as it was.
func TestTablesAreCapped(t *testing.T) {
	m := abitest.New()
	m.Table(3)
	m.Func("grow", "", "i", 0, abitest.TableGrow(1<<28))
	m.Func("little", "", "i", 0, abitest.TableGrow(5))
	before := m.Bytes()
	capped, err := capTables(before)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := capTables(capped); err != nil || !bytes.Equal(again, capped) {
		t.Errorf("a capped module changes again: %v", err)
	}
	r := wazero.NewRuntime(t.Context())
	defer r.Close(t.Context())
	i, err := r.Instantiate(t.Context(), capped)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int32{"grow": -1, "little": 3} {
		if out, err := i.ExportedFunction(name).Call(t.Context()); err != nil || int32(out[0]) != want {
			t.Errorf("%s: %v, %v; want %d", name, out, err, want)
		}
	}
}

// FuzzTables: a module that lies about its sections is an error, not a panic.
func FuzzTables(f *testing.F) {
	m := abitest.New()
	m.Table(3)
	f.Add(m.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if !bytes.HasPrefix(b, core) {
			return
		}
		if out, err := capTables(b); err == nil && len(out) < len(core) {
			t.Errorf("%d bytes became %d", len(b), len(out))
		}
	})
}

// TestOutputIsBounded: however much a guest prints, the log gets its allowance,
// in lines that end.
func TestOutputIsBounded(t *testing.T) {
	var log bytes.Buffer
	o := newOutput(slog.New(slog.NewTextHandler(&log, nil)), slog.LevelInfo, "stdout")
	fmt.Fprint(o, "one\ntw")
	fmt.Fprint(o, "o\nthree")
	o.next()
	for _, want := range []string{"guest: one", "guest: two", "guest: three"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in %s", want, &log)
		}
	}
	log.Reset()
	for range 1000 {
		fmt.Fprint(o, strings.Repeat("x", 10_000))
	}
	if log.Len() > 3*maxPerRun || strings.Count(log.String(), "prints too much") != 1 {
		t.Errorf("%d bytes of log, %d warnings", log.Len(), strings.Count(log.String(), "prints too much"))
	}
	for _, line := range strings.Split(log.String(), "\n") {
		if len(line) > maxLine+200 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
	o.next()
	log.Reset()
	fmt.Fprintln(o, "again")
	if !strings.Contains(log.String(), "again") {
		t.Error("the next invocation has no allowance")
	}
}

func TestLastWords(t *testing.T) {
	o := newOutput(slog.New(slog.DiscardHandler), slog.LevelWarn, "stderr")
	fmt.Fprint(o, strings.Repeat("chatter\n", 500), "panic: out of cheese\n", strings.Repeat("\tat frame\n", 200))
	if got := o.last(); !strings.HasPrefix(got, "panic: out of cheese\n") || len(got) > maxWords {
		t.Errorf("last words %q", got)
	}
	o.next()
	fmt.Fprint(o, strings.Repeat("chatter\n", 500), "the end")
	if got := o.last(); !strings.HasSuffix(got, "the end") || len(got) > maxWords {
		t.Errorf("last words %q", got)
	}
}

// FuzzUnwrap: a component that lies about its sections is an error, not a
// panic, and what comes out of one is a core module that stood in it.
func FuzzUnwrap(f *testing.F) {
	m := abitest.New().Bytes()
	f.Add(append(bytes.Clone(wrapped), append([]byte{1, byte(len(m))}, m...)...))
	f.Add(append(bytes.Clone(wrapped), 4, 1, 0, 7, 2, 0))
	f.Add(append(bytes.Clone(wrapped), 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1))
	f.Add(m)
	f.Fuzz(func(t *testing.T, b []byte) {
		if out, err := unwrap(b); err == nil && (!bytes.HasPrefix(out, core) || !bytes.Contains(b, out)) {
			t.Errorf("%q became %q", b, out)
		}
	})
}

// TestOutputOfARun: a call that goes on may print again after a minute.
func TestOutputOfARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := newOutput(slog.New(slog.NewTextHandler(&log, nil)), slog.LevelInfo, "stdout")
		for range 2 {
			log.Reset()
			fmt.Fprintln(o, "first")
			fmt.Fprint(o, strings.Repeat(strings.Repeat("x", 1000)+"\n", 1000))
			fmt.Fprintln(o, "last")
			if text := log.String(); !strings.Contains(text, "first") || strings.Contains(text, "last") || strings.Count(text, "prints too much") != 1 {
				t.Errorf("%d bytes of log", len(text))
			}
			time.Sleep(refill)
		}
	})
}
