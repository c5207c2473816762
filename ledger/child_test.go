package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/astrid-os/processledger/ledger/event"
)

// This file is the writer that crash tests start as a process of its own: the
// test binary itself, built with the crash points, running TestCrashWriter.

// Environment of the writer.
const (
	envDir     = "ASTRID_LEDGER_TEST_DIR"     // where the ledger is
	envWitness = "ASTRID_LEDGER_TEST_WITNESS" // prefix of the witness files
	envFail    = "ASTRID_LEDGER_TEST_FAIL"    // "step lost" or "step persisted": fail that write once, then reopen
	envRounds  = "ASTRID_LEDGER_TEST_ROUNDS"  // notes that each of two goroutines submits
)

// crashSegment is how many events the writer's segments hold.
const crashSegment = 8

// crashSnapshot is how many events lie between its snapshots.
const crashSnapshot = 3

// TestCrashWriter is no test but the writer. Two goroutines submit notes with
// texts that nobody else uses. Before and after each, they say so in plain
// files that the ledger has no part in: PREFIX.tried has the text, PREFIX.acked
// the seq and the text.
func TestCrashWriter(t *testing.T) {
	dir := os.Getenv(envDir)
	if dir == "" {
		t.Skip("runs as a process of TestCrash only")
	}
	rounds, err := strconv.Atoi(os.Getenv(envRounds))
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Fold: &chainFold{}, SegmentEvents: crashSegment, SnapshotEvents: crashSnapshot}
	var b breaker
	if step, how, ok := strings.Cut(os.Getenv(envFail), " "); ok {
		b.step, b.persist = step, how == "persisted"
		o.Around = b.around
	}
	l, err := Open(dir, o)
	for tries := 0; err != nil && persevering() && tries < 5; tries++ {
		l, err = Open(dir, o)
	}
	if err != nil {
		t.Fatal(err)
	}
	tried, acked := appendTo(t, ".tried"), appendTo(t, ".acked")
	var writers sync.WaitGroup
	for w := range 2 {
		writers.Go(func() { writeNotes(t, l, &b, w, rounds, tried, acked) })
	}
	writers.Wait()
	closeLedger(t, l)
}

// persevering is for a writer whose system calls fail: it tries again.
func persevering() bool { return os.Getenv(envFail) == "anything" }

func appendTo(t *testing.T, suffix string) *os.File {
	t.Helper()
	f, err := os.OpenFile(os.Getenv(envWitness)+suffix, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func writeNotes(t *testing.T, l *Ledger, b *breaker, w, rounds int, tried, acked *os.File) {
	for i := range rounds {
		if w == 0 && i == rounds/2 && b.step != "" {
			b.armed.Store(true)
		}
		text := fmt.Sprintf("%d-%d-%d", os.Getpid(), w, i)
		fmt.Fprintln(tried, text)
		c, err := l.Submit(context.Background(), one(note(text)))
		if persevering() && CannotCommit(err) {
			for tries := 0; l.Reopen(context.Background()) != nil && tries < 5; tries++ {
			}
			continue
		}
		if errors.Is(err, ErrFailed) {
			if err := l.Reopen(context.Background()); err != nil {
				t.Error(err)
				return
			}
			continue // nobody may say whether it is in the ledger
		}
		if err != nil {
			t.Error(err)
			return
		}
		fmt.Fprintln(acked, c.Events[0].Seq, text)
	}
}

// checkWitness compares a ledger with what its writers said at the time: every
// acknowledged event is there, and nothing is there that nobody wrote. It
// returns how many were acknowledged.
func checkWitness(t *testing.T, prefix string, all []*event.Event) int {
	t.Helper()
	tried, at := map[string]bool{}, map[uint64]string{}
	for _, line := range lines(t, prefix+".tried") {
		tried[line] = true
	}
	for _, e := range all {
		text := textOf(e)
		if _, isNote := e.Body.(*event.CapsuleUnloaded); isNote && !tried[text] {
			t.Errorf("event %d is %q, which nobody wrote", e.Seq, text)
		}
		at[e.Seq] = text
	}
	acked := lines(t, prefix+".acked")
	for _, line := range acked {
		seq, text, _ := strings.Cut(line, " ")
		n, err := strconv.ParseUint(seq, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if at[n] != text {
			t.Errorf("event %d was acknowledged as %q, the ledger has %q", n, text, at[n])
		}
	}
	return len(acked)
}

// lines returns the complete lines of a file, none if there is no file.
func lines(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	all := strings.Split(string(text), "\n")
	return all[:len(all)-1]
}
