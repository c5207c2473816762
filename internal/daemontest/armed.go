//go:build linux

package daemontest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Armed is a site whose processes die where a test wants them to.
type Armed struct {
	*Site
	Daemon *Daemon // the latest that Run started
	points string  // directory by which processes are armed, see crashpoint
}

// NewArmed makes a site with a directory for its witness, and more lines for its
// configuration.
func NewArmed(t testing.TB, lines ...string) *Armed {
	t.Helper()
	a := &Armed{Site: NewSite(t, lines...)}
	a.points = filepath.Join(a.Dir, "points")
	for _, dir := range []string{a.points, a.Witness()} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// Run starts a daemon that can be armed; it does not wait until it is ready.
func (a *Armed) Run(t testing.TB) {
	t.Helper()
	a.Daemon = a.Start(t, a.Env())
}

// Env is the variable by which a process of the site can be armed.
func (a *Armed) Env() string { return "ASTRID_CRASH_AT=@" + a.points }

// Arm has the process that comes to the nth passing of a point die there,
// counted over all processes of the site.
func (a *Armed) Arm(t testing.TB, name string, n int) {
	t.Helper()
	// Renamed into place: nobody reads half a target.
	tmp := filepath.Join(a.Dir, "target")
	WriteFile(t, tmp, fmt.Sprintf("%s#%d", name, n))
	if err := os.Rename(tmp, filepath.Join(a.points, "target")); err != nil {
		t.Fatal(err)
	}
}

// Disarm lets everybody live again.
func (a *Armed) Disarm(t testing.TB) {
	t.Helper()
	if err := os.Remove(filepath.Join(a.points, "target")); err != nil {
		t.Fatal(err)
	}
}

// Hold has whoever passes a point stand still there until the function that it
// returns is called.
func (a *Armed) Hold(t testing.TB, name string) (letGo func()) {
	t.Helper()
	path := filepath.Join(a.points, "hold")
	WriteFile(t, path+".tmp", name)
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
	return func() { _ = os.Remove(path) }
}

// Passed counts the passings of a point so far.
func (a *Armed) Passed(name string) (n int) {
	b, _ := os.ReadFile(filepath.Join(a.points, "trace"))
	for line := range strings.Lines(string(b)) {
		if strings.TrimSpace(line) == name {
			n++
		}
	}
	return n
}

// Crashed tells whether somebody came to the nth passing.
func (a *Armed) Crashed(name string, n int) bool {
	_, err := os.Stat(filepath.Join(a.points, fmt.Sprintf("%s.%d", name, n)))
	return err == nil
}

// ClearTrace forgets the passings so far.
func (a *Armed) ClearTrace(t testing.TB) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(a.points, "trace")); err != nil {
		t.Fatal(err)
	}
}

// Forget forgets all passings: those of a point that is armed next count from 1.
func (a *Armed) Forget(t testing.TB) {
	t.Helper()
	entries, err := os.ReadDir(a.points)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		_ = os.Remove(filepath.Join(a.points, e.Name()))
	}
}

// Passings counts the trace by point.
func (a *Armed) Passings(t testing.TB) map[string]int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(a.points, "trace"))
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for line := range strings.Lines(string(b)) {
		counts[strings.TrimSpace(line)]++
	}
	return counts
}

// WhileAlive ends when the latest daemon does, or after Patience.
func (a *Armed) WhileAlive(t testing.TB) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	done := a.Daemon.Done
	go func() {
		select {
		case <-done:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
