package ledger

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/segment"
)

// Archive reads a ledger that nobody writes, or the copy of one. It never
// changes anything in the ledger's directory. Its methods may be called from
// several goroutines.
type Archive struct {
	reader
	id  ulid.ULID
	end uint64 // seq of the last event, 0 if there is none
	tmp string // directory of the private copy; empty if there is none
}

// OpenArchive opens the ledger in dir for reading: its sealed segments, and a
// private copy of the newest, which nobody but the writer opens. While it
// makes the copy it keeps writers out.
//
// With a live writer it fails at once with a [LockedError] that is
// ErrWriterActive and names it: then get the copy from the writer and use
// [OpenArchiveWith].
func OpenArchive(dir string) (*Archive, error) {
	a, err := openArchive(dir)
	if err != nil {
		return nil, fmt.Errorf("open archive %s: %w", dir, err)
	}
	return a, nil
}

func openArchive(dir string) (a *Archive, err error) {
	lock, err := lockForReading(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.close()) }()
	files, err := segment.List(segmentsDir(dir))
	if err != nil {
		return nil, err
	}
	a = newArchive()
	if len(files) == 0 {
		return a, nil
	}
	newest := files[len(files)-1]
	m, err := peek(newest.Path)
	if err != nil {
		return nil, err
	}
	path := newest.Path
	if !m.Sealed { // sealed: a crash while rolling over left it so
		if path, err = a.copyOf(path); err != nil {
			return nil, errors.Join(err, a.Close())
		}
	}
	if err := a.fill(files, path); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// OpenArchiveWith opens the sealed segments in dir together with a copy of the
// newest one, as [Ledger.CopyNewest] writes it. It may be used while the
// ledger has a writer.
func OpenArchiveWith(dir string, newest io.Reader) (*Archive, error) {
	files, err := segment.List(segmentsDir(dir))
	if err != nil {
		return nil, fmt.Errorf("open archive %s: %w", dir, err)
	}
	a := newArchive()
	path, err := a.copyFrom(newest)
	if err == nil {
		err = a.fill(files, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open archive %s: %w", dir, err), a.Close())
	}
	return a, nil
}

func newArchive() *Archive {
	a := &Archive{}
	a.reader = reader{shelf: &shelf{}, last: func() uint64 { return a.end }}
	return a
}

// fill puts the segments before the newest on the shelf, and the newest, which
// lies at path.
func (a *Archive) fill(files []segment.File, path string) error {
	newest, err := segment.OpenRead(path, segment.Random)
	if err != nil {
		return err
	}
	m := newest.Meta()
	last, err := lastOf(newest)
	if err := errors.Join(err, newest.Close()); err != nil {
		return err
	}
	a.id, a.shelf.ledger, a.end = m.Ledger, m.Ledger, last
	for _, f := range files {
		if f.First < m.First {
			a.shelf.add(f.First, f.Path, nil)
		}
	}
	a.shelf.add(m.First, path, nil)
	return nil
}

// ID returns the ledger's id, zero for a ledger without a segment.
func (a *Archive) ID() ulid.ULID { return a.id }

// Close closes the files and removes the private copy. Closing twice is fine.
func (a *Archive) Close() error {
	err := a.shelf.close()
	if a.tmp != "" {
		err = errors.Join(err, os.RemoveAll(a.tmp))
	}
	return err
}

func (a *Archive) copyOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return a.copyFrom(f)
}

// copyFrom writes r into a file that nobody else can read.
func (a *Archive) copyFrom(r io.Reader) (string, error) {
	tmp, err := os.MkdirTemp("", "astrid-ledger-") // 0700
	if err != nil {
		return "", err
	}
	a.tmp = tmp
	path := filepath.Join(tmp, "newest.seg")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, r)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("copy of the newest segment: %w", err)
	}
	return path, nil
}
