package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/crashpoint"
)

// handoverEnv is the variable by which a daemon that makes way tells the next
// one, which has its pid, what it leaves it.
const handoverEnv = "ASTRID_HANDOVER"

// handoverFormat goes up when a next daemon could misunderstand an older one.
// Fields are only added otherwise.
const handoverFormat = 1

// handover is what a daemon leaves to the one that takes over in an orderly
// restart. Memory ends with the exec; the two descriptors do not, and so neither
// is the data directory ever free for a third one nor a client refused.
type handover struct {
	Format int `json:"format"`

	// PID guards against a variable that reached another process.
	PID int `json:"pid"`

	Lock    int  `json:"lock"`    // descriptor of the data directory's lock, which it holds
	Socket  int  `json:"socket"`  // descriptor of the listening control socket
	Managed bool `json:"managed"` // a service manager made the socket: it is not ours to remove

	From      string        `json:"from"`   // version that makes way
	Binary    string        `json:"binary"` // that was to go on
	Requested time.Time     `json:"requested"`
	UID       uint32        `json:"uid"` // of who asked
	Drained   time.Duration `json:"drained_ns"`
	LetGo     time.Duration `json:"let_go_ns"` // CLOCK_BOOTTIME from which on no daemon was in charge

	// Problem is why it is not Binary that goes on.
	Problem string `json:"problem,omitempty"`
}

// takeHandover returns what the daemon before left to this process, nil if this
// is no restart. No program that is started from here on gets any of it.
func takeHandover() (*handover, error) {
	text, ok := os.LookupEnv(handoverEnv)
	if !ok {
		return nil, nil
	}
	if err := os.Unsetenv(handoverEnv); err != nil {
		return nil, err
	}
	h := new(handover)
	if err := json.Unmarshal([]byte(text), h); err != nil {
		return nil, fmt.Errorf("%s: %w", handoverEnv, err)
	}
	if h.PID != os.Getpid() {
		return nil, nil // inherited by mistake: the descriptors are somebody else's
	}
	if h.Format != handoverFormat {
		return nil, fmt.Errorf("%s is of format %d, this build knows %d; start this build anew", handoverEnv, h.Format, handoverFormat)
	}
	unix.CloseOnExec(h.Lock)
	unix.CloseOnExec(h.Socket)
	// A crash here is that of a daemon that was just started: the lock goes with
	// it, and the socket is left to be replaced.
	crashpoint.Here("daemon.restart.taken")
	return h, nil
}

// pass makes this process the next daemon: the program at path, with the
// arguments that this one was given. It returns only if that fails.
func (h *handover) pass(path, name string) error {
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	env := append(os.Environ(), handoverEnv+"="+string(b))
	if err := errors.Join(keepOnExec(h.Lock), keepOnExec(h.Socket)); err != nil {
		return err
	}
	// A crash here leaves what any crash of a daemon without programs of its own
	// leaves, and an orderly stop as its last event.
	crashpoint.Here("daemon.restart.exec")
	err = unix.Exec(path, append([]string{name}, os.Args[1:]...), env)
	unix.CloseOnExec(h.Lock)
	unix.CloseOnExec(h.Socket)
	return fmt.Errorf("run %s: %w", path, err)
}

func keepOnExec(fd int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
	if err != nil {
		return fmt.Errorf("keep a descriptor over the restart: %w", err)
	}
	return nil
}

// restart is what the status tells of it.
func (h *handover) restart(gap time.Duration) *control.Restart {
	return &control.Restart{
		From: h.From, Binary: h.Binary, Requested: h.Requested, UID: h.UID,
		DrainNano: h.Drained.Nanoseconds(), GapNano: gap.Nanoseconds(), Problem: h.Problem,
	}
}

// boottime is CLOCK_BOOTTIME, which goes on over an exec.
func boottime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// ownProgram is the path by which this daemon was started, so that a restart
// finds what lies there by then: what a link points to, or a file that took the
// place of the one that runs.
func ownProgram() (string, error) {
	if strings.HasPrefix(os.Args[0], "/") {
		return os.Args[0], nil
	}
	return os.Executable()
}
