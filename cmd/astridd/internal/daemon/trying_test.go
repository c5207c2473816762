package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be the process that a ledger is read in: the
// name of the directory says what becomes of it.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "--"+FlagTryLedger {
		switch filepath.Base(os.Args[2]) {
		case "sleeps":
			time.Sleep(time.Hour)
		case "dies":
			panic("a page")
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestTryLedger: what the reading process dies of is damage, and a stop of the
// daemon is not.
func TestTryLedger(t *testing.T) {
	if err := tryLedger(t.Context(), "whole"); err != nil {
		t.Errorf("a ledger that can be read: %v", err)
	}
	if err := tryLedger(t.Context(), "dies"); !errors.Is(err, errCannotBeRead) || !strings.Contains(err.Error(), "a page") {
		t.Errorf("one of which it dies: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := tryLedger(ctx, "sleeps"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errCannotBeRead) {
		t.Errorf("the daemon was stopped meanwhile: %v", err)
	}
}

// TestBound: whoever takes too long, or too much memory, is told of once, and who
// has come to the end in time is not.
func TestBound(t *testing.T) {
	const plenty = 1 << 40
	told := make(chan error, 2)
	over := func(why error) { told <- why }
	bound(time.Hour, plenty, over)()
	defer bound(time.Millisecond, plenty, over)()
	if err := <-told; !errors.Is(err, errCannotBeRead) || !strings.Contains(err.Error(), "within 1ms") {
		t.Errorf("too long: %v", err)
	}
	defer bound(time.Hour, 16<<20, over)()
	var taken [][]byte
	for began := time.Now(); len(told) == 0 && time.Since(began) < 30*time.Second; time.Sleep(time.Millisecond) {
		if len(taken) < 64 {
			taken = append(taken, make([]byte, 1<<20))
			for i := 0; i < 1<<20; i += 4096 {
				taken[len(taken)-1][i] = 1
			}
		}
	}
	if len(told) == 0 {
		t.Fatal("64 MiB are not more than 16 MiB")
	}
	if err := <-told; !errors.Is(err, errCannotBeRead) || !strings.Contains(err.Error(), "16 MiB") {
		t.Errorf("too much: %v", err)
	}
	if len(told) > 0 {
		t.Errorf("told again: %v", <-told)
	}
}
