package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// manager is the service manager that has started the daemon and wants to be told
// how it is (sd_notify). Without one nothing is told.
type manager struct {
	log      *slog.Logger
	present  bool
	watchdog time.Duration // it ends a daemon that gives no sign of life for so long; 0: never
}

// Times of what is told.
const (
	// startPace is how often a daemon that is on its way asks for more time, and
	// startRoom how much from then on: a start may replay, recover and compile for
	// minutes, and is only to be given up when it hangs.
	startPace = 5 * time.Second
	startRoom = 30 * time.Second

	// signsPerWatchdog is how many signs of life are due in the time after which
	// the manager gives the daemon up.
	signsPerWatchdog = 3
)

// newManager looks for a service manager. What it needs to be told stays in the
// environment, for the daemon after a restart; nothing that is started gets it.
func newManager(log *slog.Logger) *manager {
	m := &manager{log: log, present: os.Getenv("NOTIFY_SOCKET") != ""}
	watchdog, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the service manager's watchdog is not understood", "error", err)
	}
	if m.present {
		m.watchdog = watchdog
	}
	return m
}

// tell sends one message of several assignments.
func (m *manager) tell(assignments ...string) {
	if !m.present {
		return
	}
	if _, err := sd.SdNotify(false, strings.Join(assignments, "\n")); err != nil {
		m.log.Warn("the service manager cannot be told", "what", assignments[0], "error", err)
	}
}

// phase tells a change of phase. again is true of a daemon that took over from
// another one, in the same process.
func (m *manager) phase(p control.Phase, status string, again bool) {
	status = "STATUS=" + status
	switch p {
	case control.PhaseReady, control.PhaseDamaged: // which is as ready as it will be: else it would be started again for ever
		tell := []string{sd.SdNotifyReady, status}
		if again {
			tell = append(tell, fmt.Sprintf("MAINPID=%d", os.Getpid()))
		}
		m.tell(tell...)
	case control.PhaseRestarting:
		m.tell(sd.SdNotifyReloading, fmt.Sprintf("MONOTONIC_USEC=%d", monotonic().Microseconds()), status)
	case control.PhaseStopping:
		m.tell(sd.SdNotifyStopping, status)
	default:
		m.tell(status)
	}
}

// monotonic is CLOCK_MONOTONIC, by which a manager orders reloads.
func monotonic() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// pace is how often something is to be told.
func (m *manager) pace() time.Duration {
	if m.watchdog > 0 {
		return min(startPace, m.watchdog/signsPerWatchdog)
	}
	return startPace
}

// keepTelling gives signs of life while the daemon gives them, until ctx ends.
func (d *Daemon) keepTelling(ctx context.Context) {
	if !d.manager.present {
		return
	}
	client := control.NewClient(d.cfg.Socket)
	defer client.Close()
	tick := time.NewTicker(d.manager.pace())
	defer tick.Stop()
	for {
		if err := d.alive(ctx, client); err == nil {
			d.manager.tell(d.signs()...)
		} else if ctx.Err() == nil {
			d.log.Error("no sign of life is given", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// signs are the assignments of a sign of life. A daemon that is on its way needs
// time; one that is there does not ask for any.
func (d *Daemon) signs() []string {
	signs := []string{sd.SdNotifyWatchdog}
	if p := d.currentPhase(); p != control.PhaseReady && p != control.PhaseDamaged {
		signs = append(signs, fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", startRoom.Microseconds()))
	}
	return signs
}

// alive tells why the daemon does not do its work. It asks both of its ends: the
// control socket, as a client would, and the goroutine that commits. A disk that
// fails is not what a new process would heal: that goroutine then says so at
// once, and lives.
func (d *Daemon) alive(ctx context.Context, c *control.Client) error {
	ctx, cancel := context.WithTimeout(ctx, d.manager.pace())
	defer cancel()
	_, err := c.Status(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // somebody removed the socket's file: unreachable, and at work
	}
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	live := d.live.Load()
	if live == nil || d.currentPhase() == control.PhaseStopping {
		return nil
	}
	_, err = live.Decide(ctx, func(*projector.State, ledger.Header) ([]*event.Event, error) { return nil, nil })
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("the ledger's committer does not answer: %w", err)
	}
	return nil
}
