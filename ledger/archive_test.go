package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/segment"
)

// TestArchive compares an archive, of either kind, with the ledger.
func TestArchive(t *testing.T) {
	dir := t.TempDir()
	l := spread(t, dir)
	live := checkLedger(t, l)
	var copied bytes.Buffer
	info, err := l.CopyNewest(context.Background(), &copied)
	if err != nil {
		t.Fatal(err)
	}
	first, last := l.Bounds()
	if info.Ledger != l.ID() || info.Last != last || info.Bytes != int64(copied.Len()) || info.First <= first || info.Ordinal < 2 {
		t.Errorf("copy: %+v", info)
	}
	fill(t, l, 30) // rolls: the copy is now of a sealed segment
	with, err := OpenArchiveWith(dir, &copied)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, with, l, live)
	closeLedger(t, l)
	before := listing(t, dir)
	off, err := OpenArchive(dir)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(checkLedger(t, off)); n <= len(live) {
		t.Errorf("%d events", n)
	}
	tmp := off.tmp
	if err := errors.Join(off.Close(), off.Close()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(tmp); !os.IsNotExist(err) {
		t.Errorf("the private copy is still there: %v", err)
	}
	if after := listing(t, dir); after != before {
		t.Errorf("the directory changed from\n%sto\n%s", before, after)
	}
	_, err = off.Get(context.Background(), 1)
	wantErr(t, err, ErrClosed)
}

func compare(t *testing.T, a *Archive, l *Ledger, live []*event.Event) {
	t.Helper()
	got := checkLedger(t, a)
	if len(got) != len(live) || a.ID() != l.ID() {
		t.Errorf("%d events of %s, want %d of %s", len(got), a.ID(), len(live), l.ID())
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

func listing(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, fi os.FileInfo, err error) error {
		if err == nil && !fi.IsDir() {
			sum, _ := segment.FileSHA256(path)
			fmt.Fprintf(&b, "%s %v %x\n", path, fi.Mode(), sum[:4])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestArchiveOfNothing(t *testing.T) {
	dir := t.TempDir()
	_, err := OpenArchive(dir)
	wantErr(t, err, os.ErrNotExist)
	if err := os.Mkdir(segmentsDir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	a, err := OpenArchive(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if first, last := a.Bounds(); first != 0 || last != 0 {
		t.Errorf("bounds of nothing: %d, %d", first, last)
	}
	if all := checkLedger(t, a); len(all) != 0 {
		t.Errorf("%d events", len(all))
	}
	if seq, err := a.SeqAt(context.Background(), 5); seq != 1 || err != nil {
		t.Errorf("SeqAt: %d, %v", seq, err)
	}
}

// TestArchiveWithGarbage holds that a copy that is none is an error.
func TestArchiveWithGarbage(t *testing.T) {
	dir := t.TempDir()
	spread(t, dir)
	_, err := OpenArchiveWith(dir, strings.NewReader(strings.Repeat("garbage ", 4096)))
	wantErr(t, err, ErrCorrupt)
	_, err = OpenArchiveWith(dir, strings.NewReader(""))
	wantErr(t, err, ErrCorrupt)
}

// TestForeignSegment holds that a segment of another ledger is not taken for
// one of this.
func TestForeignSegment(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	closeLedger(t, spread(t, other))
	l := spread(t, dir)
	closeLedger(t, l)
	bytes, err := os.ReadFile(segment.Path(segmentsDir(other), 1))
	if err == nil {
		err = os.WriteFile(segment.Path(segmentsDir(dir), 1), bytes, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	a, err := OpenArchive(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	_, err = a.Get(context.Background(), 1)
	wantErr(t, err, ErrCorrupt)
	if err := os.Remove(segment.Path(segmentsDir(dir), 11)); err != nil {
		t.Fatal(err)
	}
}

// TestMissingSegment holds that a hole between two segments is a gap.
func TestMissingSegment(t *testing.T) {
	dir := t.TempDir()
	closeLedger(t, spread(t, dir))
	if err := os.Remove(segment.Path(segmentsDir(dir), 21)); err != nil {
		t.Fatal(err)
	}
	a, err := OpenArchive(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var gap *GapError
	err = drain(a.Events(context.Background(), 0, 0))
	if !errors.As(err, &gap) || !errors.Is(err, ErrGap) || gap.Want != 21 {
		t.Errorf("got %v, want a gap at 21", err)
	}
	_, err = a.Get(context.Background(), 25)
	wantErr(t, err, ErrNotFound)
}
