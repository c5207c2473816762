package daemon

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/ledger/event"
)

// TestOutOfReach changes one thing at a time on the way to a program.
func TestOutOfReach(t *testing.T) {
	for name, c := range map[string]struct {
		change func(dir, program string) error
		fine   bool
	}{
		"nothing":              {func(string, string) error { return nil }, true},
		"file of all":          {func(_, p string) error { return os.Chmod(p, 0o777) }, false},
		"file of its group":    {func(_, p string) error { return os.Chmod(p, 0o775) }, false},
		"directory of all":     {func(d, _ string) error { return os.Chmod(d, 0o777) }, false},
		"sticky directory":     {func(d, _ string) error { return os.Chmod(d, os.ModeSticky|0o777) }, true},
		"link":                 {func(d, p string) error { return relink(p, filepath.Join(d, "real"), "real") }, true},
		"link to open file":    {func(d, p string) error { return relink(p, filepath.Join(d, "real"), "real", 0o777) }, false},
		"link that ends":       {func(_, p string) error { return relink(p, p+".gone", "nowhere") }, false},
		"link that goes round": {func(_, p string) error { return relink(p, p+".old", filepath.Base(p)) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			dir = filepath.Join(dir, "bin")
			program := filepath.Join(dir, "astridd")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(program, nil, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := c.change(dir, program); err != nil {
				t.Fatal(err)
			}
			if err := outOfReach(program); (err == nil) != c.fine {
				t.Errorf("%v", err)
			}
			if os.Geteuid() != 0 || !c.fine {
				return
			}
			if err := os.Lchown(dir, 65534, -1); err != nil {
				t.Fatal(err)
			}
			if outOfReach(program) == nil {
				t.Error("a directory of another user's is taken")
			}
		})
	}
}

// relink moves a program and puts a link in its place.
func relink(program, real, to string, mode ...os.FileMode) error {
	err := os.Rename(program, real)
	for _, m := range mode {
		err = os.Chmod(real, m)
	}
	if err != nil {
		return err
	}
	return os.Symlink(to, program)
}

// TestRestartByOperator: who may not choose the daemon's program does not get one
// that others can write to; root and the daemon's user are not asked.
func TestRestartByOperator(t *testing.T) {
	program := filepath.Join(t.TempDir(), "astridd")
	if err := os.WriteFile(program, nil, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(program, 0o777); err != nil {
		t.Fatal(err)
	}
	d := &Daemon{program: program, phase: control.PhaseStarting}
	_, err := d.Restart(t.Context(), event.Actor{UID: 4711}, &control.RestartRequest{})
	if e, ok := err.(*control.Error); !ok || e.Code != control.CodeDenied {
		t.Errorf("an operator: %v", err)
	}
	for _, uid := range []uint32{0, uint32(os.Geteuid())} {
		_, err := d.Restart(t.Context(), event.Actor{UID: uid}, &control.RestartRequest{})
		if e, ok := err.(*control.Error); !ok || e.Code != control.CodeUnavailable {
			t.Errorf("uid %d: %v", uid, err)
		}
	}
}
