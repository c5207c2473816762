package ledger

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/segment"
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
	t.Run("endings", func(t *testing.T) { testEndingsOnAFullDisk(t, mountSmall(t, "64m"), Options{}) })
	t.Run("endings when a roll is due", func(t *testing.T) {
		testEndingsOnAFullDisk(t, mountSmall(t, "96m"), Options{SegmentEvents: 8})
	})
	t.Run("read-only", func(t *testing.T) { testReadOnly(t, mountSmall(t, "64m")) })
	t.Run("gone and back", func(t *testing.T) { testGoneAndBack(t, mountSmall(t, "64m")) })
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
	weight := ballast(t, dir, segment.GrowthStep-1) // the reserve is held by then
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
	l := open(t, filepath.Join(dir, "ledger"), Options{Fold: fold, Reserve: -1, Around: b.around})
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
	if err := os.Truncate(weight, sizeOf(t, weight)-512<<10); err != nil {
		t.Fatal(err)
	}
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

func sizeOf(t *testing.T, path string) int64 {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fi.Size()
}

// testEndingsOnAFullDisk takes the last block away: endings go on, a thousand
// and more of them, over a restart too, and refusals take nothing from them.
func testEndingsOnAFullDisk(t *testing.T, dir string, o Options) {
	fold := &chainFold{}
	o.Fold = fold
	l := open(t, filepath.Join(dir, "ledger"), o)
	fill(t, l, 7)
	weight := ballast(t, dir, 0)
	const each, runs = 1000, 2
	for range runs {
		for n := range each {
			if _, err := l.SubmitEnding(context.Background(), one(note(strings.Repeat("end ", 200)))); err != nil {
				t.Fatalf("ending %d: %v", n, err)
			}
			_, err := l.Submit(context.Background(), one(note("no")))
			wantErr(t, err, ErrNoSpace)
		}
		if c := l.Condition(); c.State != StateFull || c.Since.IsZero() || !strings.Contains(c.Remedy(), "free space") {
			t.Errorf("condition %+v", c)
		}
		closeLedger(t, l)
		l = open(t, filepath.Join(dir, "ledger"), o)
	}
	spendReserve(t, l)
	if fold.tip != fold.committed {
		t.Errorf("the fold is %+v", fold)
	}
	if err := os.Remove(weight); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it goes on by itself", func() bool { return l.Condition().State == StateOK })
	fill(t, l, 20)
	ends := 0
	for _, e := range checkLedger(t, l) {
		if strings.HasPrefix(textOf(e), "end") {
			ends++
		}
		if textOf(e) == "no" {
			t.Error("a refused event is in the ledger")
		}
	}
	if ends < each*runs {
		t.Errorf("%d endings", ends)
	}
}

// spendReserve appends endings until there is nothing left: then they are
// refused, and nothing fails.
func spendReserve(t *testing.T, l *Ledger) {
	t.Helper()
	for range 10_000 {
		_, err := l.SubmitEnding(context.Background(), one(note(strings.Repeat("x", event.MaxEncoded/2))))
		if err == nil {
			continue
		}
		wantErr(t, err, ErrNoSpace)
		if errors.Is(err, ErrFailed) {
			t.Errorf("got %v", err)
		}
		return
	}
	t.Error("the disk never got full")
}

// testReadOnly has the file system refuse every write, as after an error.
func testReadOnly(t *testing.T, dir string) {
	var readOnly atomic.Bool
	free := func(dir string) (int64, error) {
		if readOnly.Load() {
			return 0, errReadOnly
		}
		return freeBytes(dir)
	}
	l := open(t, filepath.Join(dir, "ledger"), Options{freeBytes: free})
	fill(t, l, 5)
	readOnly.Store(true)
	refusesAll(t, l, "writable again")
	readOnly.Store(false)
	eventually(t, "it goes on by itself", func() bool { return l.Condition().State == StateOK })
	fill(t, l, 5)
	if all := checkLedger(t, l); len(all) != 11 {
		t.Errorf("%d events", len(all))
	}
}

// testGoneAndBack takes the file system away under the ledger, and puts it back.
func testGoneAndBack(t *testing.T, dir string) {
	aside := t.TempDir()
	l := open(t, filepath.Join(dir, "ledger"), Options{})
	fill(t, l, 5)
	move := func(from, to string) {
		if err := unix.Mount(from, to, "", unix.MS_MOVE, ""); err != nil {
			t.Fatal(err)
		}
	}
	move(dir, aside)
	refusesAll(t, l, "put the data directory back")
	if err := os.MkdirAll(filepath.Dir(l.place.Load().path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.place.Load().path, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	refusesAll(t, l, "put the data directory back")
	move(aside, dir)
	eventually(t, "it goes on by itself", func() bool { return l.Condition().State == StateOK })
	fill(t, l, 5)
	if all := checkLedger(t, l); len(all) != 11 {
		t.Errorf("%d events", len(all))
	}
}

// refusesAll checks a ledger that can append nothing, and says why.
func refusesAll(t *testing.T, l *Ledger, remedy string) {
	t.Helper()
	for _, submit := range []func(context.Context, func(Header) ([]*event.Event, error)) (*Commit, error){l.Submit, l.SubmitEnding} {
		ran := false
		_, err := submit(context.Background(), func(Header) ([]*event.Event, error) { ran = true; return nil, nil })
		wantErr(t, err, ErrUnwritable)
		if ran || !CannotCommit(err) || errors.Is(err, ErrFailed) {
			t.Errorf("ran: %t, %v", ran, err)
		}
	}
	if c := l.Condition(); c.State != StateFailed || !strings.Contains(c.Remedy(), remedy) {
		t.Errorf("condition %+v: %s", c, c.Remedy())
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}
