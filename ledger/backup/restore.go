package backup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger/segment"
)

// ErrInTheWay: the data directory has a ledger, or another key, already.
var ErrInTheWay = errors.New("something is in the way")

// Restored is what a restore did.
type Restored struct {
	Manifest *Manifest
	Aside    []string // names, in the data directory, of what was set aside
}

// Restore puts the copy in from into the data directory, whose lock the caller
// holds. Without replace it fails with ErrInTheWay if a ledger is there, or a key
// that differs; with it these are kept under names that end in ".replaced-TIME".
//
// The copy is read whole before anything is changed. A crash leaves the data
// directory as it was, without its ledger (which is damage, and the next attempt
// goes on), or with the ledger of the copy.
func Restore(from, data string, replace bool) (r *Restored, err error) {
	m, err := Read(from)
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	j := &restore{from: from, data: data, replace: replace, r: &Restored{Manifest: m}, suffix: ".replaced-" + time.Now().UTC().Format("20060102T150405.000")}
	if err := j.run(); err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	return j.r, nil
}

// restore is one run.
type restore struct {
	from, data string
	replace    bool
	suffix     string
	r          *Restored
}

func (j *restore) run() error {
	if err := os.MkdirAll(j.data, 0o700); err != nil {
		return err
	}
	tmp := filepath.Join(j.data, "ledger.restoring")
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := j.check(); err != nil {
		return err
	}
	if err := j.copyLedger(tmp); err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	if err := j.stageKeys(); err != nil {
		return err
	}
	// A crash here leaves the copy beside the ledger, and keys under temporary
	// names; the next attempt makes them anew.
	crashpoint.Here("restore.copied")
	// The ledger goes before its keys are replaced: at no moment is it there with
	// the keys of another one, by which a daemon would go on and not know it.
	if err := j.setAside("ledger"); err != nil {
		return err
	}
	// A crash here, or behind some of the keys, leaves a data directory without a
	// ledger: a daemon that finds processes there calls it damaged.
	crashpoint.Here("restore.set-aside")
	if err := j.placeKeys(); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(j.data, "ledger")); err != nil {
		return err
	}
	return segment.SyncDir(j.data)
}

// check tells what is in the way before anything is done.
func (j *restore) check() error {
	if j.replace {
		return nil
	}
	if files, err := segment.List(filepath.Join(j.data, "ledger", "segments")); err == nil && len(files) > 0 {
		return fmt.Errorf("%w: %s holds a ledger; with --replace it is set aside", ErrInTheWay, j.data)
	}
	for _, f := range j.r.Manifest.Files {
		if differs, err := j.differs(f); err != nil || differs {
			return errors.Join(err, fmt.Errorf("%w: %s is there and is not that of the backup; with --replace it is set aside", ErrInTheWay, filepath.Join(j.data, f.Name)))
		}
	}
	return nil
}

// isLedger tells whether a file of the copy is part of the ledger itself.
func isLedger(f File) bool { return strings.HasPrefix(f.Name, "ledger/") }

// differs tells whether the data directory has another key, or layout, of that
// name.
func (j *restore) differs(f File) (bool, error) {
	if isLedger(f) {
		return false, nil
	}
	there, err := os.ReadFile(filepath.Join(j.data, filepath.FromSlash(f.Name)))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	copied, err := os.ReadFile(filepath.Join(j.from, filepath.FromSlash(f.Name)))
	return !bytes.Equal(bytes.TrimSpace(there), bytes.TrimSpace(copied)), err
}

// copyLedger copies the segments to a directory beside the ledger's.
func (j *restore) copyLedger(tmp string) error {
	if err := os.MkdirAll(filepath.Join(tmp, "segments"), 0o750); err != nil {
		return err
	}
	last := ""
	for _, f := range j.r.Manifest.Files {
		if isLedger(f) {
			last = max(last, f.Name)
		}
	}
	for _, f := range j.r.Manifest.Files {
		if !isLedger(f) {
			continue
		}
		mode := os.FileMode(0o640)
		if f.Name == last {
			mode = 0o600 // the newest
		}
		if err := copyFile(filepath.Join(j.from, filepath.FromSlash(f.Name)), filepath.Join(tmp, "segments", filepath.Base(f.Name)), mode); err != nil {
			return err
		}
	}
	return errors.Join(segment.SyncDir(filepath.Join(tmp, "segments")), segment.SyncDir(tmp), segment.SyncDir(j.data))
}

// staged is the temporary name of a key.
func (j *restore) staged(f File) string {
	return filepath.Join(j.data, filepath.FromSlash(f.Name)) + ".tmp"
}

// stageKeys copies the keys and the layout, where they are missing or differ,
// under temporary names, so that placing them needs no space.
func (j *restore) stageKeys() error {
	for _, f := range j.r.Manifest.Files {
		if isLedger(f) {
			continue
		}
		tmp := j.staged(f)
		if err := os.MkdirAll(filepath.Dir(tmp), 0o700); err != nil {
			return err
		}
		if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if there, err := j.stands(f); err != nil || there {
			if err != nil {
				return err
			}
			continue
		}
		mode := os.FileMode(0o600)
		if f.Name == "layout" {
			mode = 0o644
		}
		if err := copyFile(filepath.Join(j.from, filepath.FromSlash(f.Name)), tmp, mode); err != nil {
			return err
		}
	}
	return nil
}

// stands tells whether the data directory has that key already.
func (j *restore) stands(f File) (bool, error) {
	differs, err := j.differs(f)
	if err != nil || differs {
		return false, err
	}
	_, err = os.Lstat(filepath.Join(j.data, filepath.FromSlash(f.Name)))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// placeKeys gives the staged ones their names.
func (j *restore) placeKeys() error {
	for _, f := range j.r.Manifest.Files {
		if isLedger(f) {
			continue
		}
		tmp := j.staged(f)
		if _, err := os.Lstat(tmp); errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := j.setAside(f.Name); err != nil {
			return err
		}
		to := strings.TrimSuffix(tmp, ".tmp")
		if err := errors.Join(os.Rename(tmp, to), segment.SyncDir(filepath.Dir(to))); err != nil {
			return err
		}
	}
	return nil
}

// setAside gives something in the data directory another name.
func (j *restore) setAside(name string) error {
	path := filepath.Join(j.data, filepath.FromSlash(name))
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := os.Rename(path, path+j.suffix); err != nil {
		return err
	}
	j.r.Aside = append(j.r.Aside, name+j.suffix)
	return segment.SyncDir(filepath.Dir(path))
}
