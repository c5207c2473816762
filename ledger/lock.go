package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Holder is a process that holds, or held, the writer's place.
type Holder struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"` // when it took the place
	Host    string    `json:"host"`
	Program string    `json:"program"`
}

// LockedError names who is in the way. errors.Is finds ErrLocked, or
// ErrWriterActive where a reader met a writer.
type LockedError struct {
	Path   string  // of the lock file
	Holder *Holder // nil if the file does not tell
	Reader bool    // readers are in the way, not a writer

	kind error
}

// Error implements error.
func (e *LockedError) Error() string {
	switch {
	case e.Reader:
		return fmt.Sprintf("%s: %v: somebody is copying it; try again", e.Path, e.kind)
	case e.Holder == nil:
		return fmt.Sprintf("%s: %v", e.Path, e.kind)
	}
	return fmt.Sprintf("%s: %v: held by %s, pid %d on %s, since %s", e.Path, e.kind,
		e.Holder.Program, e.Holder.PID, e.Holder.Host, e.Holder.Started.Format(time.RFC3339))
}

// Unwrap returns ErrLocked or ErrWriterActive.
func (e *LockedError) Unwrap() error { return e.kind }

// readerPatience is how long a writer waits for readers that are just copying
// the newest segment: such a copy takes less than a second a segment.
const readerPatience = 10 * time.Second

// dirLock is the writer's place of a ledger. The kernel drops it when the
// process ends, however it ends; what the file says is for people only.
type dirLock struct{ f *os.File }

// lockForWriting takes the writer's place in dir. Against another writer it
// fails at once; readers it waits for, bounded.
func lockForWriting(dir string) (*dirLock, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(readerPatience); ; time.Sleep(10 * time.Millisecond) {
		held, err := tryLock(f, true)
		if err == nil && held {
			l := &dirLock{f: f}
			return l, l.sign()
		}
		readers, err2 := onlyReaders(f)
		if err = errors.Join(err, err2); err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		if !readers || time.Now().After(deadline) {
			return nil, errors.Join(&LockedError{Path: path, Holder: readHolder(f), Reader: readers, kind: ErrLocked}, f.Close())
		}
	}
}

// onlyReaders tells whether those who hold the lock hold it for reading.
func onlyReaders(f *os.File) (bool, error) {
	shared, err := tryLock(f, false)
	if err != nil || !shared {
		return false, err
	}
	return true, unlock(f)
}

// lockForReading keeps writers out of dir for as long as it is held. A ledger
// without a lock file, such as a copy on another machine, has no writer: then
// the lock is nil, and closing it does nothing.
func lockForReading(dir string) (*dirLock, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	switch held, err := tryLock(f, false); {
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	case !held:
		return nil, errors.Join(&LockedError{Path: path, Holder: readHolder(f), kind: ErrWriterActive}, f.Close())
	}
	return &dirLock{f: f}, nil
}

// sign writes who holds the lock. It need not survive a crash.
func (l *dirLock) sign() error {
	h := Holder{PID: os.Getpid(), Started: time.Now().UTC().Truncate(time.Second)}
	h.Host, _ = os.Hostname() // for people; empty will do
	if exe, err := os.Executable(); err == nil {
		h.Program = filepath.Base(exe)
	}
	text, err := json.Marshal(h)
	if err == nil {
		err = l.f.Truncate(0)
	}
	if err == nil {
		_, err = l.f.WriteAt(append(text, '\n'), 0)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("sign %s: %w", l.f.Name(), err), l.f.Close())
	}
	return nil
}

// close gives the place up.
func (l *dirLock) close() error {
	if l == nil {
		return nil
	}
	return errors.Join(unlock(l.f), l.f.Close())
}

// readHolder returns what the lock file tells, nil if nothing.
func readHolder(f *os.File) *Holder {
	text, err := io.ReadAll(io.NewSectionReader(f, 0, 4096))
	if err != nil {
		return nil
	}
	var h Holder
	if json.Unmarshal(text, &h) != nil || h.PID == 0 {
		return nil
	}
	return &h
}
