//go:build linux

package act

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger/event"
)

// What is in late/ of the data directory:
//
//	<ULID>.json   an ending that the ledger has not recorded: one lateFile
//
// A file is written before its act, by a daemon that has no ledger at all
// (Options.KeepLate), and once more with the result. The hands of every later
// daemon find it, and it is deleted once it stands in the ledger.

// lateFile is an intent as it is stored.
type lateFile struct {
	Request *event.Event `json:"request"` // scope and body of the signal.requested to come
	Done    bool         `json:"done"`    // the signal was sent, and what follows says what became of it

	Delivered bool   `json:"delivered"`
	Detail    string `json:"detail,omitempty"`
}

// unknownDelivery is the detail of a signal whose daemon died at it.
const unknownDelivery = "unknown whether it was sent: the daemon died at it"

func (h *Hands) lateDir() string { return filepath.Join(h.o.Dir, "late") }

// keep writes an intent to disk and returns when it is durable.
//
// A crash before the rename leaves a temporary file, which is deleted; nothing
// was done. One after it leaves an intent of which nobody knows whether it was
// carried out, until it is kept again with its result.
func (h *Hands) keep(i *Intent, done bool) error {
	if err := os.MkdirAll(h.lateDir(), 0o700); err != nil {
		return err
	}
	if i.file == "" {
		i.file = ulid.Make().String() + ".json"
	}
	request := i.Request
	b, err := json.Marshal(lateFile{
		Request: &event.Event{Scope: i.Scope, Body: &request}, Done: done, Delivered: i.Result.Delivered, Detail: i.Result.Detail,
	})
	if err != nil {
		return err
	}
	return h.writeLate(i.file, b)
}

func (h *Hands) writeLate(name string, b []byte) error {
	tmp := filepath.Join(h.lateDir(), name+".tmp")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, filepath.Join(h.lateDir(), name)); err != nil {
		return err
	}
	return errors.Join(syncPath(h.lateDir()), syncPath(h.o.Dir))
}

func syncPath(dir string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open "+dir, err)
	}
	err = unix.Fsync(fd)
	return errors.Join(os.NewSyscallError("fsync "+dir, err), unix.Close(fd))
}

// loadLate takes in what an earlier daemon kept, oldest first. A file that
// cannot be read is left where it is, for a person.
func (h *Hands) loadLate() {
	entries, err := os.ReadDir(h.lateDir()) // by name, which is by time
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			h.log.Warn("endings that an earlier daemon kept cannot be read", "error", err)
		}
		return
	}
	for _, e := range entries {
		path := filepath.Join(h.lateDir(), e.Name())
		if strings.HasSuffix(e.Name(), ".tmp") {
			_ = os.Remove(path) // nothing was done for it
			continue
		}
		i, err := readLate(path)
		if err != nil {
			h.log.Warn("an ending that an earlier daemon kept cannot be read; it is not recorded", "file", path, "error", err)
			continue
		}
		h.late = append(h.late, *i)
	}
}

func readLate(path string) (*Intent, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f lateFile
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, err
	}
	if f.Request == nil {
		return nil, fmt.Errorf("it holds no request")
	}
	q, ok := f.Request.Body.(*event.SignalRequested)
	if !ok || !ends(q.Signal) {
		return nil, fmt.Errorf("it holds no ending, but %v", f.Request.Kind())
	}
	i := &Intent{Scope: f.Request.Scope, Request: *q, Result: SignalResult{f.Delivered, f.Detail}, Earlier: true, file: filepath.Base(path)}
	if !f.Done {
		i.Result = SignalResult{Detail: unknownDelivery}
	}
	return i, nil
}

// forgetLate deletes the file of an intent that stands in the ledger. A crash
// before it leaves the file: whoever records it again finds that it stands there.
func (h *Hands) forgetLate(i *Intent) {
	if i.file == "" {
		return
	}
	crashpoint.Here("daemon.late.recorded")
	if err := os.Remove(filepath.Join(h.lateDir(), i.file)); err != nil && !errors.Is(err, os.ErrNotExist) {
		h.log.Warn("the file of a recorded ending cannot be deleted", "file", i.file, "error", err)
	}
}
