package ledger

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestSecondOpenFailsAtOnce(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, Options{})
	start := time.Now()
	_, err := Open(dir, Options{Fold: &chainFold{}})
	var locked *LockedError
	if !errors.As(err, &locked) || !errors.Is(err, ErrLocked) {
		t.Fatalf("got %v, want a LockedError", err)
	}
	if locked.Holder == nil || locked.Holder.PID != os.Getpid() {
		t.Errorf("the holder is given as %+v, it is process %d", locked.Holder, os.Getpid())
	}
	if !strings.Contains(err.Error(), "pid "+strconv.Itoa(os.Getpid())) {
		t.Errorf("the error does not name the holder: %v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	_, err = OpenArchive(dir)
	wantErr(t, err, ErrWriterActive)
	if !errors.As(err, &locked) || locked.Holder == nil {
		t.Errorf("the error does not name the writer: %v", err)
	}
}

func TestLockIsFreeAfterCloseAndAfterAFailedOpen(t *testing.T) {
	dir := t.TempDir()
	closeLedger(t, open(t, dir, Options{}))
	bad := errors.New("no state today")
	_, err := Open(dir, Options{Fold: &chainFold{failRestore: bad}})
	wantErr(t, err, bad)
	open(t, dir, Options{})
}

// TestWriterWaitsForReaders holds that somebody who is copying the newest
// segment does not make a daemon fail to start.
func TestWriterWaitsForReaders(t *testing.T) {
	dir := t.TempDir()
	closeLedger(t, open(t, dir, Options{}))
	shared, err := lockForReading(dir)
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan error)
	go func() {
		l, err := Open(dir, Options{Fold: &chainFold{}})
		if err == nil {
			err = l.Close()
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		t.Fatalf("opened beside a reader: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := shared.close(); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Errorf("after the reader left: %v", err)
	}
}

func TestLockFileThatTellsNothing(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, Options{})
	if err := os.WriteFile(filepath.Join(dir, "lock"), []byte("?"), 0o640); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, Options{Fold: &chainFold{}})
	var locked *LockedError
	if !errors.As(err, &locked) || locked.Holder != nil {
		t.Errorf("got %v", err)
	}
	closeLedger(t, l)
}
