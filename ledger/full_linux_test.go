package ledger

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/ledger/event"
)

const envFull = "ASTRID_LEDGER_TEST_FULL" // set in the process that may mount

// TestFullDisk fills a real file system. It runs again in a mount namespace of
// its own, so that nothing is left mounted whatever happens.
func TestFullDisk(t *testing.T) {
	if os.Getenv(envFull) != "" {
		testFullDisk(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), envFull+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil && strings.Contains(string(out), "--- SKIP"):
		t.Skipf("not here: %s", out)
	case errors.Is(err, os.ErrPermission) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL):
		t.Skipf("no mount namespace here: %v", err)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	}
}

// mountSmall mounts a memory file system of the given size.
func mountSmall(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	// The namespace may share its mounts with the outside still.
	err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if err == nil {
		err = unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size+",mode=0700")
	}
	if err != nil {
		t.Skipf("no mounting here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func testFullDisk(t *testing.T) {
	t.Run("refused in time", func(t *testing.T) { testRefusedInTime(t, mountSmall(t, "64m")) })
	t.Run("without the check", func(t *testing.T) { testFullWithoutCheck(t, mountSmall(t, "24m")) })
}

// ballast takes space away: all of it but keep bytes.
func ballast(t *testing.T, dir string, keep int64) string {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	free, err := freeBytes(dir)
	if err == nil {
		err = os.WriteFile(path, make([]byte, max(free-keep, 0)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// testRefusedInTime holds that the check comes before the disk is full.
func testRefusedInTime(t *testing.T, dir string) {
	l := open(t, filepath.Join(dir, "ledger"), Options{})
	fill(t, l, 5)
	weight := ballast(t, dir, DefaultReserve)
	_, err := l.Submit(context.Background(), one(note("no")))
	wantErr(t, err, ErrNoSpace)
	select {
	case <-l.Failed():
		t.Error("the ledger failed")
	default:
	}
	if err := os.Remove(weight); err != nil {
		t.Fatal(err)
	}
	fill(t, l, 5)
	if all := checkLedger(t, l); len(all) != 11 {
		t.Errorf("%d events", len(all))
	}
}

// testFullWithoutCheck goes without the check, as when others fill the disk
// between the check and the write: the ledger refuses, and does not fail.
func testFullWithoutCheck(t *testing.T, dir string) {
	b := &breaker{step: "append"}
	fold := &chainFold{}
	l := open(t, filepath.Join(dir, "ledger"), Options{Fold: fold, Reserve: -1, around: b.around})
	fill(t, l, 5)
	weight := ballast(t, dir, 1<<20)
	n := uint64(0)
	var err error
	for range 100 {
		if _, err = l.Submit(context.Background(), one(note(strings.Repeat("x", event.MaxEncoded/2)))); err != nil {
			break
		}
		n++
	}
	wantErr(t, err, ErrNoSpace)
	wantErr(t, err, unix.ENOSPC)
	if errors.Is(err, ErrFailed) || fold.tip != fold.committed {
		t.Errorf("got %v, the fold is %+v", err, fold)
	}
	// A commit that fails now cannot be salvaged before there is space.
	b.armed.Store(true)
	_, err = l.Submit(context.Background(), one(note("fits")))
	wantErr(t, err, ErrFailed)
	wantErr(t, l.Reopen(context.Background()), ErrNoSpace)
	if err := os.Remove(weight); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(context.Background()); err != nil {
		t.Fatal(err)
	}
	fill(t, l, 5)
	if all := checkLedger(t, l); uint64(len(all)) != 6+n+1+5 {
		t.Errorf("%d events, %d large ones were acknowledged", len(all), n)
	}
	closeLedger(t, l)
	checkLedger(t, open(t, filepath.Join(dir, "ledger"), Options{Reserve: -1}))
}
