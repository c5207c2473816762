//go:build linux

package wedged

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/ledger/event"
)

// wedges are the ways in which the disk of a running daemon fails and comes
// back.
var wedges = []struct {
	name   string
	state  string // of the ledger meanwhile
	says   string // in the status
	remedy string
	wedge  func(t *testing.T, d *disk) (repair func())
}{
	{"full", "full", "no space", "free space", func(t *testing.T, d *disk) func() { return d.fill(t) }},
	{"writes find no space", "failed", "no space left", "free space", func(t *testing.T, d *disk) func() {
		return d.inject(t, "pwrite64", "ENOSPC")
	}},
	{"writes fail", "failed", "input/output error", "see to the disk", func(t *testing.T, d *disk) func() {
		return d.inject(t, "pwrite64", "EIO")
	}},
	{"flushes fail", "failed", "input/output error", "see to the disk", func(t *testing.T, d *disk) func() {
		return d.inject(t, "fdatasync,fsync", "EIO")
	}},
	{"read-only", "failed", "read-only", "writable again", func(t *testing.T, d *disk) func() {
		return d.inject(t, "pwrite64,fdatasync,fsync,link,linkat,mkdirat,rename,renameat,unlinkat", "EROFS")
	}},
	{"away", "failed", "no such file", "put the data directory back", func(t *testing.T, d *disk) func() { return d.takeAway(t) }},
}

// takeAway moves the file system out of its place, as an unmount does while its
// files are open.
func (d *disk) takeAway(t *testing.T) (back func()) {
	t.Helper()
	aside := filepath.Join(d.Dir, "aside")
	if err := os.MkdirAll(aside, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(d.Data, aside, "", unix.MS_MOVE, ""); err != nil {
		t.Fatal(err)
	}
	done := false
	back = func() {
		if done {
			return
		}
		done = true
		if err := unix.Mount(aside, d.Data, "", unix.MS_MOVE, ""); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(back)
	return back
}

// TestDiskFailsUnderADaemon: whatever is wrong with the disk, nothing starts,
// what runs is listed and ended, and everything is recorded once it can be.
func TestDiskFailsUnderADaemon(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	for _, w := range wedges {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			d := newDisk(t)
			d.begin(t)
			repair := w.wedge(t, d)
			began := time.Now()
			d.poke(t)
			st := d.is(t, w.state)
			if l := st.Ledger; l.Since == nil || !strings.Contains(l.Error, w.says) || !strings.Contains(l.Remedy, w.remedy) {
				t.Errorf("status: %+v", l)
			}
			if !slices.ContainsFunc(st.Problems, func(p string) bool { return strings.Contains(p, w.remedy) }) {
				t.Errorf("problems: %q", st.Problems)
			}
			d.refused(t)
			recorded := w.state == "full"
			stopped := d.endAll(t, recorded)
			if n := strings.Count(d.Daemon.Tail(), "level=ERROR"); n > 12+int(time.Since(began).Seconds()/2) {
				t.Errorf("%d errors in the log in %v:\n%s", n, time.Since(began), d.Daemon.Tail())
			}
			ended := time.Now()
			repair()
			d.is(t, "ok")
			d.settled(t, stopped)
			d.worksAgain(t)
			checkStory(t, d.check(t), began, ended, recorded)
		})
	}
}

// TestDaemonDiesInAWedgedWorld is the same with the daemon killed in the middle
// of it: what its successor finds is recorded.
func TestDaemonDiesInAWedgedWorld(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	for _, w := range wedges {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			d := newDisk(t)
			d.begin(t)
			repair := w.wedge(t, d)
			d.poke(t)
			d.is(t, w.state)
			d.Release(t, "ends")
			d.dead(t, "ends")
			if _, err := d.Client.Cancel(t.Context(), &control.CancelRequest{Principal: "alice", CallIDs: []string{"call-1"}}); err != nil {
				t.Error(err)
			}
			d.dead(t, "plain", "deaf")
			d.Daemon.Kill(t)
			repair()
			d.Run(t)
			d.Daemon.Ready(t)
			d.settled(t, nil)
			d.worksAgain(t)
			all := d.check(t)
			if exits := exitsOf(all); exits["ends"] != "code 0" || exits["plain"] != "code 9" || exits["deaf"] != "signal 9" {
				t.Errorf("exits: %v", exits)
			}
		})
	}
}

// poke has the daemon write something, so that it notices.
func (d *disk) poke(t *testing.T) {
	t.Helper()
	_, _ = d.Client.Cancel(t.Context(), &control.CancelRequest{Principal: "nobody", CallIDs: []string{"x"}})
}

// refused checks that nothing starts, and that whoever asks is told why.
func (d *disk) refused(t *testing.T) {
	t.Helper()
	_, err := d.Drive(t.Context(), "bob", "call-2", d.Program("spawn", "never", daemontest.Quick))
	if err == nil || !strings.Contains(err.Error(), "cannot be recorded") || !strings.Contains(err.Error(), "astridctl status") {
		t.Errorf("a call while nothing can be recorded: %v", err)
	}
	if strings.Contains(err.Error(), d.Dir) {
		t.Errorf("the answer names a path: %v", err)
	}
}

// endAll ends the programs in each way that there is. The channel has what the
// operator's stop came to.
func (d *disk) endAll(t *testing.T, recorded bool) <-chan error {
	t.Helper()
	before := d.handles(t)
	if len(before) != 5 {
		t.Fatalf("ps shows %d of 5", len(before))
	}
	d.Release(t, "ends")
	stopped := make(chan error, 1)
	go func() {
		_, err := d.Client.Stop(context.WithoutCancel(t.Context()), &control.StopRequest{ID: before["kept"].ID})
		stopped <- err
	}()
	d.dead(t, "ends", "kept")
	c, err := d.Client.Cancel(t.Context(), &control.CancelRequest{Principal: "alice", CallIDs: []string{"call-1"}, Reason: "a test"})
	if err != nil || c.Unrecorded == recorded || len(c.Handles) == 0 {
		t.Errorf("cancel: %+v, %v", c, err)
	}
	d.dead(t, "plain", "deaf")
	if recorded {
		daemontest.Eventually(t, "the ends are recorded", func() bool {
			h := d.handles(t)["ends"]
			return h.Phase == "exited" && h.Exit != nil && *h.Exit.Code == 0
		})
		return stopped
	}
	daemontest.Eventually(t, "ps shows all ends as unrecorded", func() bool {
		n := 0
		for _, h := range d.handles(t) {
			if h.Unrecorded && h.Phase == "started" && h.Exit == nil {
				n++
			}
		}
		return n == 4
	})
	if h := d.handles(t)["stays"]; h.Unrecorded || h.Phase != "started" {
		t.Errorf("one that runs: %+v", h)
	}
	select {
	case err := <-stopped:
		t.Errorf("stop returned before its end was recorded: %v", err)
	default:
	}
	return stopped
}

// settled ends what still runs, and waits until all that happened is recorded.
func (d *disk) settled(t *testing.T, stopped <-chan error) {
	t.Helper()
	if stopped != nil {
		select {
		case err := <-stopped:
			if err != nil {
				t.Errorf("stop: %v", err)
			}
		case <-time.After(daemontest.Patience):
			t.Error("stop does not return")
		}
	}
	for name, h := range d.handles(t) {
		if h.Tier == "persistent" {
			if _, err := d.Client.Stop(t.Context(), &control.StopRequest{ID: h.ID}); err != nil && control.ExitCode(err) != 3 {
				t.Errorf("stop of %s: %v", name, err)
			}
		}
	}
	daemontest.Eventually(t, "nothing lives in the ledger", func() bool {
		st, err := d.Client.Status(t.Context())
		return err == nil && st.Live == 0
	})
}

// worksAgain has a program run, without a restart.
func (d *disk) worksAgain(t *testing.T) {
	t.Helper()
	out, err := d.Drive(t.Context(), "bob", "call-3", d.Program("spawn", "again", daemontest.Quick))
	if err != nil || out[0].Err != "" || out[0].Exit.Code == nil || *out[0].Exit.Code != 0 {
		t.Errorf("a spawn after the repair: %+v, %v", out, err)
	}
	if d.Wrote("never", "start") {
		t.Error("a refused program ran")
	}
}

// exitsOf are the exits by the name of the program.
func exitsOf(all []*event.Event) map[string]string {
	names, exits := map[string]string{}, map[string]string{}
	for _, e := range all {
		switch b := e.Body.(type) {
		case *event.SpawnRequested:
			names[e.Handle.String()] = strings.TrimPrefix(b.Args[2], "nonce-")
		case *event.ProcessExited:
			name := names[e.Handle.String()]
			if exits[name] != "" {
				exits[name] += " and "
			}
			exits[name] += exitText(&b.Exit)
		}
	}
	return exits
}

// checkStory holds what the ledger says of the programs: each exit once, with
// its true time; signals that could not be recorded in time as late.
func checkStory(t *testing.T, all []*event.Event, began, ended time.Time, recorded bool) {
	t.Helper()
	want := map[string]string{
		"ends": "code 0", "kept": "code 9", "plain": "code 9", "deaf": "signal 9", "stays": "code 9", "again": "code 0",
	}
	exits := exitsOf(all)
	for name, exit := range want {
		if exits[name] != exit {
			t.Errorf("%s: %s, want %s", name, exits[name], exit)
		}
	}
	cancels, after := 0, map[ulid.ULID]bool{}
	for _, e := range all {
		switch b := e.Body.(type) {
		case *event.SpawnRequested:
			after[e.Handle] = b.Args[2] == "nonce-stays"
		case *event.SignalRequested:
			if after[e.Handle] {
				continue
			}
			if b.Late == recorded {
				t.Errorf("event %d: late %t", e.Seq, b.Late)
			}
			if at := time.Unix(0, b.SentWall); b.Late && (at.Before(began) || at.After(ended)) {
				t.Errorf("event %d: sent at %v, not between %v and %v", e.Seq, at, began, ended)
			}
		case *event.CancelRequested:
			if len(b.CallIDs) == 1 && b.CallIDs[0] == "call-1" {
				cancels++
			}
		case *event.ProcessExited:
			// But for what is ended after the repair.
			if at := time.Unix(0, b.EndedWall); e.Principal == "alice" && !after[e.Handle] && (at.Before(began) || at.After(ended)) {
				t.Errorf("event %d: ended at %v, not between %v and %v", e.Seq, at, began, ended)
			}
		}
	}
	if cancels != 1 {
		t.Errorf("%d cancels are recorded", cancels)
	}
}

func exitText(x *event.Exit) string {
	if x.Code != nil {
		return fmt.Sprint("code ", *x.Code)
	}
	return fmt.Sprint("signal ", *x.Signal)
}

// TestStartOnAFullDisk: a daemon that finds no free block starts, takes up what
// runs, refuses what is new, and records endings from the reserve.
func TestStartOnAFullDisk(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	d := newDisk(t)
	d.begin(t)
	d.Daemon.Kill(t)
	free := d.fill(t)
	d.Run(t)
	if st := d.Daemon.Ready(t); st.Ledger.State != "full" || st.Live == 0 {
		t.Errorf("status: %+v, %d live", st.Ledger, st.Live)
	}
	d.refused(t)
	d.dead(t, "plain", "deaf", "ends") // their instance is gone
	h := d.handles(t)
	if h["kept"].Phase != "started" || h["stays"].Phase != "started" {
		t.Errorf("ps: %+v", h)
	}
	if a, err := d.Client.Stop(t.Context(), &control.StopRequest{ID: h["kept"].ID}); err != nil || a.Exit == nil {
		t.Errorf("stop: %+v, %v", a, err)
	}
	free()
	d.is(t, "ok")
	d.settled(t, nil)
	d.worksAgain(t)
	d.check(t)
}

// TestStartOnAReadOnlyDisk: there is nothing that a daemon could hold, and it
// says why; the next one takes up what runs.
func TestStartOnAReadOnlyDisk(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	d := newDisk(t)
	d.begin(t)
	d.Daemon.Kill(t)
	// The shims hold files open there, so it is this view of it that turns.
	if err := unix.Mount(d.Data, d.Data, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", d.Data, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	d.Run(t)
	if code := d.Daemon.Wait(t); code != 1 || !strings.Contains(d.Daemon.Tail(), "read-only file system") {
		t.Errorf("astridd left with %d:\n%s", code, d.Daemon.Tail())
	}
	if err := unix.Unmount(d.Data, 0); err != nil {
		t.Fatal(err)
	}
	d.Run(t)
	d.Daemon.Ready(t)
	d.settled(t, nil)
	d.worksAgain(t)
	d.check(t)
}

// TestDirectoryIsDeleted under a daemon: nothing starts, what runs is listed and
// ended, and the daemon can be stopped, which says what could not be recorded.
func TestDirectoryIsDeleted(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	d := newDisk(t)
	d.begin(t)
	entries, err := os.ReadDir(d.Data)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(d.Data, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	st := d.is(t, "failed")
	if !strings.Contains(st.Ledger.Remedy, "restore a backup") {
		t.Errorf("status: %+v", st.Ledger)
	}
	d.refused(t)
	d.endAll(t, false)
	ps, err := d.Client.Ps(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range ps.Handles { // nobody will find it again
		if h.Tier == "persistent" && !h.Unrecorded {
			go func() { _, _ = d.Client.Stop(context.WithoutCancel(t.Context()), &control.StopRequest{ID: h.ID}) }()
		}
	}
	d.dead(t, "stays")
	d.Daemon.Signal(t, unix.SIGTERM)
	code := 0
	for range 2 { // it waits for the ledger, nearly as long as we do
		select {
		case <-d.Daemon.Done:
			code = d.Daemon.Cmd.ProcessState.ExitCode()
		case <-time.After(daemontest.Patience):
		}
	}
	if code == 0 {
		t.Errorf("astridd says that all is recorded, or does not end:\n%s", d.Daemon.Tail())
	}
}
