//go:build linux

package host

import (
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/ledger/event"
)

// keepsExits tells whether this kernel remembers, for those who hold its pidfd,
// how a process ended that others have reaped (Linux 6.15).
func keepsExits(t *testing.T) bool {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	cmd.Process.Kill()
	cmd.Wait()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	return unix.IoctlPidfdInfo(fd, &info) == nil && info.Mask&unix.PIDFD_INFO_EXIT != 0
}

// lost returns the one process.lost of the ledger.
func (w *world) lost() *event.ProcessLost {
	w.t.Helper()
	var lost *event.ProcessLost
	w.until("the loss is recorded", func() bool {
		for _, e := range w.events(1) {
			if b, ok := e.Body.(*event.ProcessLost); ok {
				lost = b
			}
		}
		return lost != nil
	})
	return lost
}

// TestTheSecondWitnessReachesTheEvent kills shims whose programs had ended by
// themselves, or die with them, under the daemon that started them and under one
// that took them in: what the kernel remembered for it is recorded, and no more.
func TestTheSecondWitnessReachesTheEvent(t *testing.T) {
	kept := keepsExits(t)
	if !kept {
		t.Log("this kernel remembers no exits: nothing is recorded of them")
	}
	for _, c := range []struct {
		name    string
		adopted bool
		ending  unix.Signal // of the program alone; 0: it dies with its shim
		want    string
	}{
		{"with its shim", false, 0, "signal 9"},
		{"by itself", false, unix.SIGTERM, "signal 15"},
		{"by itself, adopted", true, unix.SIGTERM, "signal 15"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.startPersistent("exec sleep 1000")
			if c.adopted {
				w.adopted()
			}
			f := w.look("it runs", func(f act.Found) bool { return f.Started != nil })
			if c.ending != 0 {
				w.stopShim(f) // so that it cannot tell
				if err := unix.Kill(int(f.Started.Program.PID), c.ending); err != nil {
					t.Fatal(err)
				}
				w.until("the program ends", func() bool { return w.hands.Gone(f.Started.Program) })
			}
			w.killShim(f)
			lost := w.lost()
			if lost.Reason != "shim-killed" || lost.Detail == "" {
				t.Errorf("recorded %+v", lost)
			}
			if (lost.Witness != nil) != kept || kept && exitText(lost.Witness) != c.want {
				t.Errorf("the witness is recorded as %s, want %s if the kernel keeps it (%v)", exitText(lost.Witness), c.want, kept)
			}
		})
	}
}
