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
	"github.com/astrid-os/processledger/ledger/event"
)

// TestStatusWhileRecovering holds that the socket answers while a shim keeps
// recovery waiting, and that nothing is invoked until then.
func TestStatusWhileRecovering(t *testing.T) {
	s, d := serving(t)
	if _, err := s.drive(t.Context(), "alice", "c1", s.program("background", "runs", lasting)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it runs", func() bool { return s.wrote("runs", "start") })
	c := &crash{site: s}
	c.halt(t, "shim")
	d.kill(t)
	d = s.start(t)
	eventually(t, "recovery runs", func() bool {
		st, err := s.client.Status(t.Context())
		return err == nil && st.Phase == control.PhaseRecovering
	})
	if ps, err := s.client.Ps(t.Context(), false); err != nil || len(ps.Handles) != 1 {
		t.Errorf("ps: %+v, %v", ps, err)
	}
	_, err := s.drive(t.Context(), "alice", "c2")
	if control.ExitCode(err) != 4 || !strings.Contains(err.Error(), "recovering") {
		t.Errorf("invoke: %v", err)
	}
	c.resumeAll()
	if st := d.ready(t); st.Recovery == nil || st.Recovery.Ended != 1 {
		t.Errorf("recovery: %+v", st.Recovery)
	}
	d.stop(t)
}

// TestBadCapsule holds that one does not keep the others, or the daemon, from
// working.
func TestBadCapsule(t *testing.T) {
	s := newSite(t)
	s.withDriver(t)
	for name, manifest := range map[string]string{
		"broken": "[package", "long": "[package]\nname = \"long\"\nversion = \"1\"\n[[component]]\nfile = \"driver.wasm\"\n#" + strings.Repeat("x", 64<<10),
		"flag": "[package]\nname = \"flag\"\nversion = \"1\"\n[[component]]\nfile = \"driver.wasm\"\n[capabilities]\nhost_process = [\"--bind\"]\n",
	} {
		dir := filepath.Join(s.data, "capsules", name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "Capsule.toml"), manifest)
		copyFile(t, filepath.Join(s.data, "capsules", "driver", "driver.wasm"), filepath.Join(dir, "driver.wasm"))
	}
	d := s.start(t)
	if st := d.ready(t); st.Capsules != 1 || len(st.Problems) != 3 {
		t.Errorf("status: %+v", st)
	}
	list, err := s.client.Capsules(t.Context())
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
	_, err = s.client.Invoke(t.Context(), &control.Invocation{Principal: "alice", Capsule: "flag", Action: "run"})
	if err == nil || !strings.Contains(err.Error(), "looks like a flag") {
		t.Errorf("invoke: %v", err)
	}
	d.stop(t)
}

// TestCannotStart holds that what keeps a daemon from starting is said with a
// remedy.
func TestCannotStart(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, s *site)
		text   string
	}{
		"no shim": {func(t *testing.T, s *site) { remove(t, filepath.Join(s.bin, "astrid-shim")) },
			"build it with: go build -o"},
		"shim is no program": {func(t *testing.T, s *site) {
			remove(t, filepath.Join(s.bin, "astrid-shim"))
			write(t, filepath.Join(s.bin, "astrid-shim"), "")
		}, "is no program"},
		"no capsules": {func(t *testing.T, s *site) { s.configure(t, `capsules_dir = "none"`) }, "set capsules_dir"},
		"newer layout": {func(t *testing.T, s *site) {
			if err := os.Mkdir(s.data, 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(s.data, "layout"), "99\n")
		}, "layout 99"},
		"somebody's directory": {func(t *testing.T, s *site) {
			if err := os.Mkdir(s.data, 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(s.data, "thesis.txt"), "precious")
		}, "thesis.txt"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			c.change(t, s)
			d := s.start(t)
			if code := d.wait(t); code != 1 || !strings.Contains(d.tail(), c.text) {
				t.Errorf("code %d:\n%s", code, d.tail())
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
	s.withDriver(t)
	s.configureText(t, "data_dir = \"data\"\nisolation = \"pidns\"\n")
	// In a user namespace of its own the daemon may be denied the namespaces
	// that this machine otherwise grants.
	wrapper := `echo 0 >/proc/sys/user/max_pid_namespaces && exec "$0" --config "$1"`
	cmd := exec.Command("unshare", "--user", "--map-root-user", "sh", "-c", wrapper, filepath.Join(s.bin, "astridd"), s.config)
	if out, err := exec.Command("unshare", "--user", "--map-root-user", "sh", "-c", "echo 0 >/proc/sys/user/max_pid_namespaces").CombinedOutput(); err != nil {
		if mode, _ := isolation(); mode != "none" {
			t.Skipf("no user namespace to take the others away in: %v %s", err, out)
		}
		cmd = exec.Command(filepath.Join(s.bin, "astridd"), "--config", s.config)
	}
	d := s.startCommand(t, cmd)
	st := d.ready(t)
	if st.Isolation.Available || st.Isolation.Mode != "pidns" || st.Isolation.Reason == "" || len(st.Problems) != 1 {
		t.Errorf("status: %+v", st)
	}
	out, err := s.drive(t.Context(), "alice", "c1", step{Op: "spawn", Cmd: "sh", Args: []string{"-c", "true"}})
	if err != nil || !strings.Contains(out[0].Err, "namespaces") {
		t.Errorf("spawn: %+v, %v", out, err)
	}
	decisions := events[*event.SpawnDecided](t, s, event.KindSpawnDecided)
	if len(decisions) != 1 || decisions[0].Outcome != event.OutcomeRefused || decisions[0].Detail == "" {
		t.Errorf("spawn.decided: %+v", decisions[0])
	}
	d.stop(t)
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
	s.configure(t, `operators = [4321]`, `socket = "`+public+`/s"`)
	s.client = control.NewClient(public + "/s")
	d := s.start(t)
	d.ready(t)
	exe := filepath.Join(public, "test")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	copyFile(t, self, exe)
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
	d.stop(t)
}
