package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// InUseError says that another daemon uses the data directory.
type InUseError struct {
	Dir    string
	Holder *Holder // nil if the lock file does not tell
}

// Error names the holder and what to do.
func (e *InUseError) Error() string {
	who := "another astridd"
	if e.Holder != nil {
		who = fmt.Sprintf("astridd %s, pid %d, since %s", e.Holder.Version, e.Holder.PID, e.Holder.Started.Format(time.RFC3339))
	}
	return fmt.Sprintf("data directory %s is in use by %s: stop it, or name another directory with --data", e.Dir, who)
}

// Holder is what the lock file says about who holds it, for people.
type Holder struct {
	PID     int       `json:"pid"`
	Version string    `json:"version"` // of its astridd
	Started time.Time `json:"started"`
}

// lockData makes the data directory if there is none and takes its lock. The
// kernel drops the lock when the process ends, however it ends, and the
// descriptor is closed in every program that is started.
func lockData(dir string, me Holder) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock of the data directory: %w", err)
	}
	if err = take(f, dir); err == nil {
		err = sign(f, me)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// lock takes the data directory: from the daemon that makes way, which has held
// its lock until this process was the next one, or anew.
func (d *Daemon) lock() (*os.File, error) {
	me := Holder{PID: os.Getpid(), Version: d.version, Started: d.started}
	if d.before == nil {
		return lockData(d.cfg.Data, me)
	}
	f := os.NewFile(uintptr(d.before.Lock), filepath.Join(d.cfg.Data, "lock"))
	here, err := f.Stat()
	there, serr := os.Stat(f.Name())
	if err = errors.Join(err, serr); err == nil && !os.SameFile(here, there) {
		err = fmt.Errorf("%s is not what the daemon before had locked", f.Name())
	}
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) // held already: this changes nothing
	}
	if err == nil {
		err = sign(f, me)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock of the data directory: %w", err), f.Close())
	}
	return f, nil
}

// lingering is how long the lock of a dead daemon is waited for. A child that
// it had forked and that had not come to its exec holds the lock for a moment
// longer than the daemon lived.
const lingering = 5 * time.Second

// take takes the lock: against a living holder it fails at once.
func take(f *os.File, dir string) error {
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		h := readHolder(f)
		if h == nil || alive(h.PID) || time.Since(began) > lingering {
			return &InUseError{Dir: dir, Holder: h}
		}
	}
}

// alive tells whether there is a process of that number that is no zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// readHolder reads the note of the holder, who may be writing it just now.
func readHolder(f *os.File) *Holder {
	h := new(Holder)
	if err := json.NewDecoder(io.NewSectionReader(f, 0, 4096)).Decode(h); err != nil || h.PID == 0 {
		return nil
	}
	return h
}

// sign writes the note. It is not synced: after a reboot it means nothing.
func sign(f *os.File, me Holder) error {
	b, err := json.Marshal(me)
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("lock of the data directory: %w", err)
	}
	if _, err := f.WriteAt(append(b, '\n'), 0); err != nil {
		return fmt.Errorf("lock of the data directory: %w", err)
	}
	return nil
}
