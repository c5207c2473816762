package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/internal/worldcheck"
	"github.com/astrid-os/processledger/ledger/event"
)

// TestStartWithASilentShim holds that the socket answers while recovery runs,
// and says how far it is; that nothing is invoked until then; and that a shim
// that does not answer holds up the start for no more than a moment, with its
// process counted.
func TestStartWithASilentShim(t *testing.T) {
	s, d := serving(t)
	if _, err := s.Drive(t.Context(), "alice", "c1", s.Program("background", "runs", daemontest.Lasting)); err != nil {
		t.Fatal(err)
	}
	daemontest.Eventually(t, "it runs", func() bool { return s.Wrote("runs", "start") })
	s.Halt(t, "shim")
	d.Kill(t)
	d = s.Start(t)
	daemontest.Eventually(t, "recovery runs", func() bool {
		st, err := s.Client.Status(t.Context())
		return err == nil && st.Phase == control.PhaseRecovering && st.Progress != nil && st.Progress.Total == 1
	})
	if ps, err := s.Client.Ps(t.Context(), false); err != nil || len(ps.Handles) != 1 {
		t.Errorf("ps: %+v, %v", ps, err)
	}
	if _, err := s.Drive(t.Context(), "alice", "c2"); err != nil && (control.ExitCode(err) != 4 || !strings.Contains(err.Error(), "recovering")) {
		t.Errorf("invoke: %v", err)
	}
	st := d.Ready(t)
	if r := st.Recovery; r == nil || r.Silent != 1 || r.Ended != 0 {
		t.Errorf("recovery: %+v", r)
	}
	s.ResumeAll()
	daemontest.Eventually(t, "nothing is left to settle", func() bool {
		st, err := s.Client.Status(t.Context())
		return err == nil && st.Live == 0 && st.Recovery.Settling == 0 && st.Progress == nil
	})
	d.Stop(t)
}

// TestStartWithAnOlderLedger has a program run that the ledger knows nothing of,
// as after a restored backup: it is ended, and the operator is told.
func TestStartWithAnOlderLedger(t *testing.T) {
	s, d := serving(t)
	d.Stop(t)
	ledger, backup := filepath.Join(s.Data, "ledger"), filepath.Join(s.Dir, "backup")
	if err := os.CopyFS(backup, os.DirFS(ledger)); err != nil {
		t.Fatal(err)
	}
	d = s.Start(t)
	d.Ready(t)
	if _, err := s.Drive(t.Context(), "alice", "c1", s.Program("background", "unknown", daemontest.Lasting)); err != nil {
		t.Fatal(err)
	}
	daemontest.Eventually(t, "it runs", func() bool { return s.Wrote("unknown", "start") })
	d.Kill(t)
	if err := os.RemoveAll(ledger); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(ledger, os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	d = s.Start(t)
	if st := d.Ready(t); st.Recovery == nil || st.Recovery.Foreign != 1 || !strings.Contains(strings.Join(st.Problems, "\n"), "the ledger is older than 1 program that ran") {
		t.Errorf("status: %+v, %q", st.Recovery, st.Problems)
	}
	daemontest.Eventually(t, "it is dead", func() bool { return len(worldcheck.Marked(s.Witness())) == 0 })
	d.Stop(t)
}

// TestBadCapsule holds that one does not keep the others, or the daemon, from
// working.
func TestBadCapsule(t *testing.T) {
	s := newSite(t)
	s.WithDriver(t)
	for name, manifest := range map[string]string{
		"broken": "[package", "long": "[package]\nname = \"long\"\nversion = \"1\"\n[[component]]\nfile = \"driver.wasm\"\n#" + strings.Repeat("x", 64<<10),
		"flag": "[package]\nname = \"flag\"\nversion = \"1\"\n[[component]]\nfile = \"driver.wasm\"\n[capabilities]\nhost_process = [\"--bind\"]\n",
	} {
		dir := filepath.Join(s.Data, "capsules", name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "Capsule.toml"), manifest)
		daemontest.CopyFile(t, filepath.Join(s.Data, "capsules", "driver", "driver.wasm"), filepath.Join(dir, "driver.wasm"))
	}
	d := s.Start(t)
	if st := d.Ready(t); st.Capsules != 1 || len(st.Problems) != 3 {
		t.Errorf("status: %+v", st)
	}
	list, err := s.Client.Capsules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct{ name, problem string }{
		{"broken", "Capsule.toml"}, {"driver", ""}, {"flag", "looks like a flag"}, {"long", "too long to be recorded"},
	} {
		c := list.Capsules[i]
		if c.Name != want.name || c.Loaded != (want.problem == "") || !strings.Contains(c.Problem, want.problem) {
			t.Errorf("capsule %d: %+v", i, c)
		}
	}
	_, err = s.Client.Invoke(t.Context(), &control.Invocation{Principal: "alice", Capsule: "flag", Action: "run"})
	if err == nil || !strings.Contains(err.Error(), "looks like a flag") {
		t.Errorf("invoke: %v", err)
	}
	d.Stop(t)
}

// TestCannotStart holds that what keeps a daemon from starting is said with a
// remedy.
func TestCannotStart(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, s *site)
		text   string
	}{
		"no shim": {func(t *testing.T, s *site) { remove(t, filepath.Join(s.Bin, "astrid-shim")) },
			"build it with: go build -o"},
		"shim is no program": {func(t *testing.T, s *site) {
			remove(t, filepath.Join(s.Bin, "astrid-shim"))
			write(t, filepath.Join(s.Bin, "astrid-shim"), "")
		}, "is no program"},
		"no capsules": {func(t *testing.T, s *site) { s.Configure(t, `capsules_dir = "none"`) }, "set capsules_dir"},
		"newer layout": {func(t *testing.T, s *site) {
			if err := os.Mkdir(s.Data, 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(s.Data, "layout"), "99\n")
		}, "layout 99"},
		"somebody's directory": {func(t *testing.T, s *site) {
			if err := os.Mkdir(s.Data, 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(s.Data, "thesis.txt"), "precious")
		}, "thesis.txt"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			c.change(t, s)
			d := s.Start(t)
			if code := d.Wait(t); code != 1 || !strings.Contains(d.Tail(), c.text) {
				t.Errorf("code %d:\n%s", code, d.Tail())
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// TestWithoutNamespaces holds that a daemon which may not isolate programs
// comes up all the same, says why it refuses them, and never chooses the weaker
// mode by itself.
func TestWithoutNamespaces(t *testing.T) {
	s := newSite(t)
	s.WithDriver(t)
	s.ConfigureText(t, "data_dir = \"data\"\nisolation = \"pidns\"\n")
	// In a user namespace of its own the daemon may be denied the namespaces
	// that this machine otherwise grants.
	wrapper := `echo 0 >/proc/sys/user/max_pid_namespaces && exec "$0" --config "$1"`
	cmd := exec.Command("unshare", "--user", "--map-root-user", "sh", "-c", wrapper, filepath.Join(s.Bin, "astridd"), s.Config)
	if out, err := exec.Command("unshare", "--user", "--map-root-user", "sh", "-c", "echo 0 >/proc/sys/user/max_pid_namespaces").CombinedOutput(); err != nil {
		if mode, _ := daemontest.Isolation(); mode != "none" {
			t.Skipf("no user namespace to take the others away in: %v %s", err, out)
		}
		cmd = exec.Command(filepath.Join(s.Bin, "astridd"), "--config", s.Config)
	}
	d := s.StartCommand(t, cmd)
	st := d.Ready(t)
	if st.Isolation.Available || st.Isolation.Mode != "pidns" || st.Isolation.Reason == "" || len(st.Problems) != 1 {
		t.Errorf("status: %+v", st)
	}
	out, err := s.Drive(t.Context(), "alice", "c1", step{Op: "spawn", Cmd: "sh", Args: []string{"-c", "true"}})
	if err != nil || !strings.Contains(out[0].Err, "namespaces") {
		t.Errorf("spawn: %+v, %v", out, err)
	}
	decisions := events[*event.SpawnDecided](t, s, event.KindSpawnDecided)
	if len(decisions) != 1 || decisions[0].Outcome != event.OutcomeRefused || decisions[0].Detail == "" {
		t.Errorf("spawn.decided: %+v", decisions[0])
	}
	d.Stop(t)
}

// TestStranger holds that another user is told that he may not, and an operator
// may.
func TestStranger(t *testing.T) {
	if socket := os.Getenv("ASTRIDD_TEST_STRANGER"); socket != "" {
		st, err := control.NewClient(socket).Status(t.Context())
		fmt.Printf("%v %v\n", st != nil, err)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	s := newSite(t)
	public, err := os.MkdirTemp("", "astridd-public-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(public)
	if err := os.Chmod(public, 0o755); err != nil {
		t.Fatal(err)
	}
	s.Configure(t, `operators = [4321]`, `socket = "`+public+`/s"`)
	s.Client = control.NewClient(public + "/s")
	d := s.Start(t)
	d.Ready(t)
	exe := filepath.Join(public, "test")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	daemontest.CopyFile(t, self, exe)
	if err := os.Chmod(exe, 0o755); err != nil {
		t.Fatal(err)
	}
	for uid, want := range map[uint32]string{4321: "true <nil>", 4322: "uid 4322 may not use this daemon"} {
		cmd := exec.Command(exe, "-test.run", "^TestStranger$")
		cmd.Dir = public
		cmd.Env = []string{"ASTRIDD_TEST_STRANGER=" + public + "/s"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("uid %d: %v\n%s", uid, err, out)
		}
	}
	d.Stop(t)
}
