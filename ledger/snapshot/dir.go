package snapshot

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Names in the directory of snapshots.
const (
	suffix    = ".snap" // behind the seq, in 20 digits
	temporary = ".tmp"  // appended to the name while it is written
	seqDigits = 20
)

// kept is how many snapshots stay: the newest, and one that a crash of the
// machine is less likely to have taken with it.
const kept = 2

// File is one snapshot in a directory.
type File struct {
	Path string
	Seq  uint64 // from the name
}

func name(seq uint64) string { return fmt.Sprintf("%0*d%s", seqDigits, seq, suffix) }

// List returns the snapshots in dir, newest first; none if dir is not there.
// It opens none.
func List(dir string) ([]File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var files []File
	for _, e := range entries {
		digits, is := strings.CutSuffix(e.Name(), suffix)
		if seq, err := strconv.ParseUint(digits, 10, 64); is && err == nil && name(seq) == e.Name() {
			files = append(files, File{Path: filepath.Join(dir, e.Name()), Seq: seq})
		}
	}
	slices.SortFunc(files, func(a, b File) int { return cmp.Compare(b.Seq, a.Seq) })
	return files, nil
}

// Prune removes what is not kept: all but the newest snapshots, and what a
// crash left of one. It must not run beside a Write.
func Prune(dir string) error {
	files, err := List(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range files[min(kept, len(files)):] {
		errs = append(errs, Remove(f))
	}
	return errors.Join(append(errs, removeUnfinished(dir))...)
}

func removeUnfinished(dir string) error {
	entries, err := os.ReadDir(dir)
	errs := []error{err}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix+temporary) {
			errs = append(errs, removeIfThere(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// Clear removes all snapshots of dir.
func Clear(dir string) error {
	files, err := List(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range files {
		errs = append(errs, Remove(f))
	}
	return errors.Join(errs...)
}

// Remove removes one snapshot.
func Remove(f File) error { return removeIfThere(f.Path) }

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
