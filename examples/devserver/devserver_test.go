//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/astrid-os/processledger/guest"
	"github.com/astrid-os/processledger/guest/ipc"
	"github.com/astrid-os/processledger/guest/process"
	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/internal/control"
)

// patience bounds every wait.
const patience = 60 * time.Second

// site is a data directory with the capsule installed, and the daemon's
// binaries.
type site struct {
	dir    string // short: a socket's path may have 107 bytes
	client *control.Client
	daemon *exec.Cmd
}

// install builds the daemon, its shim and this capsule, as the README says.
func install(t *testing.T) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "devserver-")
	if err != nil {
		t.Fatal(err)
	}
	// An ordinary user's namespaces must be able to reach the shim.
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := &site{dir: dir, client: control.NewClient(filepath.Join(dir, "data", "control.sock"))}
	t.Cleanup(func() {
		s.client.Close()
		s.kill()
		os.RemoveAll(dir)
	})
	build(t, []string{"CGO_ENABLED=0"}, "-o", dir+"/", "../../cmd/astridd", "../../host/shim/astrid-shim")
	capsule := filepath.Join(dir, "capsules", "devserver")
	if err := os.MkdirAll(capsule, 0o755); err != nil {
		t.Fatal(err)
	}
	build(t, []string{"GOOS=wasip1", "GOARCH=wasm"}, "-buildmode=c-shared", "-o", filepath.Join(capsule, "devserver.wasm"), ".")
	copyFile(t, "Capsule.toml", filepath.Join(capsule, "Capsule.toml"))
	probed, err := act.Probe(filepath.Join(dir, "astrid-shim"))
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("data_dir = \"data\"\ncapsules_dir = \"capsules\"\nisolation = %q\n", probed.Isolation)
	if err := os.WriteFile(filepath.Join(dir, "astridd.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func build(t *testing.T, env []string, args ...string) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"build"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// start starts the daemon and waits until it is ready.
func (s *site) start(t *testing.T) {
	t.Helper()
	s.daemon = exec.Command(filepath.Join(s.dir, "astridd"), "--config", filepath.Join(s.dir, "astridd.toml"))
	s.daemon.Stderr = t.Output()
	if err := s.daemon.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := s.client.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
}

// kill has the daemon gone at once.
func (s *site) kill() {
	if s.daemon != nil {
		_ = s.daemon.Process.Kill()
		_ = s.daemon.Wait()
		s.daemon = nil
	}
}

// stop stops the daemon in order.
func (s *site) stop(t *testing.T) {
	t.Helper()
	if err := s.daemon.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := s.daemon.Wait(); err != nil {
		t.Errorf("astridd: %v", err)
	}
	s.daemon = nil
}

// call calls a tool; isError tells that it is to fail, then the text of its
// error is returned.
func (s *site) call(t *testing.T, tool, arguments string, into any, isError bool) string {
	t.Helper()
	answer, err := s.client.Invoke(t.Context(), &control.Invocation{
		Principal: "alice", Capsule: "devserver", Action: "tool_execute_" + tool,
		Payload: json.RawMessage(`{"call_id":"c1","tool_name":"` + tool + `","arguments":` + arguments + `}`),
	})
	if err != nil {
		t.Fatalf("%s: %v", tool, err)
	}
	if answer.Action != guest.Continue || len(answer.Results) != 1 {
		t.Fatalf("%s answered %+v", tool, answer)
	}
	result, err := ipc.DecodeToolResult(answer.Results[0])
	if err != nil || result.IsError != isError {
		t.Fatalf("%s answered %s: %v", tool, answer.Results[0], err)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(result.Content), into); err != nil {
			t.Fatalf("%s answered %s: %v", tool, result.Content, err)
		}
	}
	return result.Content
}

// counter is a server that writes a number ten times a second.
const counter = `{"name":"web","cmd":"sh","args":["-c","i=0; while :; do i=$((i+1)); echo request $i; sleep 0.1; done"]}`

// TestServerOutlivesTheDaemon follows a server's log across a SIGKILL of the
// daemon, and sees another server end.
func TestServerOutlivesTheDaemon(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts the daemon")
	}
	s := install(t)
	s.start(t)
	var web, again server
	s.call(t, "dev_start", counter, &web, false)
	if !web.Running || !web.Started || web.PID == 0 || web.Name != "web" {
		t.Fatalf("dev_start answered %+v", web)
	}
	var before, after piece
	s.call(t, "dev_logs", `{"name":"web","wait_ms":20000}`, &before, false)
	if !strings.HasPrefix(before.Text, "request 1\n") || before.Cursor == "" || before.Ended {
		t.Errorf("dev_logs answered %+v", before)
	}

	s.kill()
	s.start(t)
	s.call(t, "dev_start", counter, &again, false)
	if again.PID != web.PID || again.Started || again.UpMS <= 0 {
		t.Errorf("after a SIGKILL of the daemon dev_start answered %+v; before, %+v", again, web)
	}
	log := before.Text
	for len(log) < len("request 1\n")*10 {
		after = piece{Cursor: before.Cursor}
		s.call(t, "dev_logs", fmt.Sprintf(`{"name":"web","wait_ms":20000,"cursor":%q}`, before.Cursor), &after, false)
		if after.Text == "" || after.Dropped != 0 {
			t.Fatalf("dev_logs answered %+v", after)
		}
		log, before = log+after.Text, after
	}
	for i, line := range strings.Split(strings.TrimSuffix(log, "\n"), "\n") {
		if want := fmt.Sprintf("request %d", i+1); line != want && !strings.HasPrefix(want, line) {
			t.Fatalf("line %d of the log is %q, want %q", i+1, line, want)
		}
	}
	crash(t, s)

	if text := s.call(t, "dev_logs", `{"name":"web","cursor":"foreign"}`, nil, true); !strings.Contains(text, "cursor") {
		t.Errorf("a foreign cursor is answered by %q", text)
	}
	s.call(t, "dev_stop", `{"name":"web"}`, &again, false)
	if again.Exit != "signal 15" || again.Running {
		t.Errorf("dev_stop answered %+v", again)
	}
	if text := s.call(t, "dev_stop", `{"name":"web"}`, nil, true); !strings.Contains(text, "no server") {
		t.Errorf("a second dev_stop is answered by %q", text)
	}
	s.stop(t)
}

// crash starts a server that ends of itself, and waits until the capsule was
// told.
func crash(t *testing.T, s *site) {
	t.Helper()
	var started server
	s.call(t, "dev_start", `{"name":"crash","cmd":"sh","args":["-c","echo boom >&2; exit 3"]}`, &started, false)
	var seen []ended
	for deadline := time.Now().Add(patience); len(seen) == 0; time.Sleep(20 * time.Millisecond) {
		var o overview
		s.call(t, "dev_status", `{}`, &o, false)
		if seen = append(seen, o.Ended...); len(o.Servers) != 2 || time.Now().After(deadline) {
			t.Fatalf("dev_status answered %+v", o)
		}
	}
	if want := (ended{Name: "crash", Reason: process.SelfExit, Exit: "exit status 3"}); len(seen) != 1 || seen[0] != want {
		t.Errorf("dev_status told of %+v, want %+v", seen, want)
	}
	var log piece
	s.call(t, "dev_logs", `{"name":"crash","stream":"stderr","wait_ms":20000}`, &log, false)
	if log.Text != "boom\n" {
		t.Errorf("its log is %+v", log)
	}
	var next server
	s.call(t, "dev_start", `{"name":"crash","cmd":"sh","args":["-c","exec sleep 600"]}`, &next, false)
	if next.Exit != "exit status 3" || !next.Started || !next.Running {
		t.Errorf("the next of the name answered %+v", next)
	}
	s.call(t, "dev_stop", `{"name":"crash"}`, &next, false)
}
