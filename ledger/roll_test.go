package ledger

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/segment"
)

func TestModesOfFiles(t *testing.T) {
	dir := t.TempDir()
	l := spread(t, dir)
	files, err := segment.List(segmentsDir(dir))
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		fi, err := os.Stat(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		want := os.FileMode(0o640)
		if i == len(files)-1 {
			want = 0o600
		}
		if fi.Mode().Perm() != want {
			t.Errorf("segment %d of %d is %v, want %v", i+1, len(files), fi.Mode().Perm(), want)
		}
	}
	closeLedger(t, l)
}

// TestChainOfHashes holds that each segment.opened tells the hash of the file
// before and of the state it opens with.
func TestChainOfHashes(t *testing.T) {
	dir := t.TempDir()
	l := spread(t, dir)
	n := uint64(0)
	for e, err := range l.Events(context.Background(), 0, 0) {
		if err != nil {
			t.Fatal(err)
		}
		o, ok := e.Body.(*event.SegmentOpened)
		if !ok {
			continue
		}
		if n++; o.Ordinal != n || o.Layout != segment.Layout {
			t.Errorf("segment %d: %+v", n, o)
		}
		if n == 1 {
			if o.Reason != reasonFirst || o.PreviousFirst != 0 || len(o.PreviousSHA256) != 0 {
				t.Errorf("first segment: %+v", o)
			}
			continue
		}
		sum, err := segment.FileSHA256(segment.Path(segmentsDir(dir), o.PreviousFirst))
		if err != nil || !bytes.Equal(sum[:], o.PreviousSHA256) || o.Reason != reasonFull {
			t.Errorf("segment %d: %+v; the file before has %x (%v)", n, o, sum, err)
		}
	}
}

// TestRollByBytes holds that long events fill a segment too.
func TestRollByBytes(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, Options{SegmentBytes: 1 << 20})
	text := strings.Repeat("long ", 10_000)
	for range 60 {
		submit(t, l, text)
	}
	checkLedger(t, l)
	files, err := segment.List(segmentsDir(dir))
	if err != nil || len(files) < 3 {
		t.Errorf("%d segments for 3 MB, %v", len(files), err)
	}
}

// TestSealMustFit holds that a sealed segment with more or fewer events than
// its seal says is not taken for sound.
func TestSealMustFit(t *testing.T) {
	for _, c := range []struct {
		seal string
		want error
	}{{"3", ErrCorrupt}, {"9", ErrGap}} {
		dir := t.TempDir()
		l := open(t, dir, Options{})
		fill(t, l, 5)
		path := l.c.newest.path
		closeLedger(t, l)
		setMeta(t, path, "sealed", c.seal)
		_, err := Open(dir, Options{Fold: &chainFold{}})
		wantErr(t, err, c.want)
		_, err = OpenArchive(dir)
		wantErr(t, err, c.want)
	}
}

// TestWrongName holds that a file is what its name says.
func TestWrongName(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, Options{})
	path := l.c.newest.path
	closeLedger(t, l)
	if err := os.Rename(path, segment.Path(segmentsDir(dir), 7)); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, Options{Fold: &chainFold{}})
	wantErr(t, err, ErrCorrupt)
}
