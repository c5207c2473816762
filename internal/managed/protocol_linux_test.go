package managed

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/ledger/event"
)

// TestReadiness: the manager is told READY when everything is recovered and not
// before, what goes on meanwhile, and the stop; at a path and at an abstract
// address, by the main process alone.
func TestReadiness(t *testing.T) {
	for _, abstract := range []bool{false, true} {
		t.Run(fmt.Sprintf("abstract=%v", abstract), func(t *testing.T) {
			t.Parallel()
			a := daemontest.NewArmed(t)
			m := newManager(t, a.Dir, abstract)
			letGo := a.Hold(t, "recovery.settled")
			d := start(t, a.Site, m, nil, a.Env())
			m.await(t, 0, "EXTEND_TIMEOUT_USEC=30000000")
			if n := m.count(0, "READY=1"); n != 0 {
				t.Error("ready before recovery")
			}
			letGo()
			n := m.await(t, 0, "READY=1")
			st, err := a.Client.Status(t.Context())
			if err != nil || st.Phase != control.PhaseReady || st.Recovery == nil {
				t.Errorf("when it said so: %+v, %v", st, err)
			}
			d.Stop(t)
			m.await(t, n, "STOPPING=1")
			for i, msg := range m.messages() {
				status := slices.IndexFunc(msg.lines, func(l string) bool { return strings.HasPrefix(l, "STATUS=") })
				if int(msg.pid) != d.Cmd.Process.Pid {
					t.Errorf("message %d %q is from process %d, not from %d", i, msg.lines, msg.pid, d.Cmd.Process.Pid)
				}
				if slices.Contains(msg.lines, "READY=1") && (i != n-1 || status < 0) {
					t.Errorf("message %d: %q", i, msg.lines)
				}
			}
		})
	}
}

// TestWatchdog: signs of life come in time; none comes while the committer stands
// still, although the control socket answers, and they come again.
func TestWatchdog(t *testing.T) {
	t.Parallel()
	const watchdog = 1500 * time.Millisecond
	a := daemontest.NewArmed(t)
	m := newManager(t, a.Dir, false)
	d := start(t, a.Site, m, nil, a.Env(), fmt.Sprintf("WATCHDOG_USEC=%d", watchdog.Microseconds()))
	n := m.await(t, 0, "READY=1")
	m.await(t, m.await(t, n, "WATCHDOG=1"), "WATCHDOG=1")

	letGo := a.Hold(t, "ledger.commit.begin")
	committed := make(chan error, 1)
	go func() { // a refused program is recorded, too; or nothing is, and the call fails
		_, err := a.Client.Cancel(context.Background(), &control.CancelRequest{Principal: "alice"})
		committed <- err
	}()
	daemontest.Eventually(t, "the committer stands still", func() bool { return a.Passed("ledger.commit.begin") > 0 && quiet(m, 2*watchdog) })
	before := len(m.messages())
	if _, err := a.Client.Status(t.Context()); err != nil {
		t.Errorf("the control socket: %v", err)
	}
	letGo()
	if err := <-committed; err != nil {
		t.Error(err)
	}
	m.await(t, before, "WATCHDOG=1")
	d.Stop(t)
}

// quiet tells whether the manager has had no sign of life for so long.
func quiet(m *manager, long time.Duration) bool {
	var last time.Time
	for _, msg := range m.messages() {
		if slices.Contains(msg.lines, "WATCHDOG=1") {
			last = msg.at
		}
	}
	return time.Since(last) > long
}

// TestNoWatchdogOfOthers: a watchdog that is meant for another process is nobody's.
func TestNoWatchdogOfOthers(t *testing.T) {
	t.Parallel()
	s := daemontest.NewSite(t)
	d := start(t, s, nil, nil, "WATCHDOG_USEC=1000000", "WATCHDOG_PID=1", "NOTIFY_SOCKET="+filepath.Join(s.Dir, "nobody"))
	d.Ready(t)
	d.Stop(t)
	if !strings.Contains(d.Tail(), "the service manager cannot be told") {
		t.Error("nothing is said of a manager that does not listen")
	}
}

// TestActivation: a client that connects before there is a daemon waits for it; the
// socket is the manager's, and outlives a stop and a kill; and nothing that the
// daemon starts has any of this.
func TestActivation(t *testing.T) {
	t.Parallel()
	s := daemontest.NewSite(t)
	s.WithDriver(t)
	if err := os.Mkdir(s.Witness(), 0o755); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(s.Data, "control.sock")
	fd := listening(t, "stream", socket)
	m := newManager(t, s.Dir, true)
	early := make(chan error, 1)
	go func() {
		_, err := control.NewClient(socket).Status(context.Background())
		early <- err
	}()
	d := start(t, s, m, []*os.File{fd}, "WATCHDOG_USEC=60000000")
	if err := <-early; err != nil {
		t.Errorf("a client that came before the daemon: %v", err)
	}
	d.Ready(t)
	if _, err := s.Drive(t.Context(), "alice", "c", s.Program("background", "runs", daemontest.Lasting)); err != nil {
		t.Fatal(err)
	}
	daemontest.Eventually(t, "it runs", func() bool { return s.Wrote("runs", "start") })
	for _, pid := range s.Processes() {
		env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		for _, name := range []string{"NOTIFY_SOCKET", "LISTEN_", "WATCHDOG_"} {
			if pid != d.Cmd.Process.Pid && strings.Contains(string(env), name) {
				t.Errorf("%s has %s", daemontest.CommandLine(pid), name)
			}
		}
	}
	d.Kill(t)
	d = start(t, s, m, []*os.File{fd})
	d.Ready(t)
	d.Stop(t)
	if _, err := os.Stat(socket); err != nil {
		t.Errorf("the manager's socket is gone: %v", err)
	}
}

// TestWrongSockets: a manager that hands over something else is told what is wrong.
func TestWrongSockets(t *testing.T) {
	t.Parallel()
	s := daemontest.NewSite(t)
	at := func(name string) string { return filepath.Join(s.Dir, name) }
	for _, c := range []struct {
		name    string
		sockets []*os.File
		want    string
	}{
		{"another path", []*os.File{listening(t, "stream", at("elsewhere"))}, "and the configuration says"},
		{"datagrams", []*os.File{listening(t, "datagram", at("datagrams"))}, "use ListenStream="},
		{"a file", []*os.File{open(t, s.Config)}, "is no socket"},
		{"two", []*os.File{listening(t, "stream", at("one")), listening(t, "stream", at("two"))}, "hands over 2 sockets"},
	} {
		d := start(t, s, nil, c.sockets)
		if code := d.Wait(t); code != 1 || !strings.Contains(d.Tail(), c.want) {
			t.Errorf("%s: left with %d and said %s", c.name, code, d.Tail())
		}
	}
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestRestartBelowAManager: an orderly restart is a reload to the manager: the main
// process stays, it is watched over as before, and the socket is still the
// manager's.
func TestRestartBelowAManager(t *testing.T) {
	t.Parallel()
	s := daemontest.NewSite(t)
	if err := os.MkdirAll(s.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(s.Data, "control.sock")
	m := newManager(t, s.Dir, false)
	d := start(t, s, m, []*os.File{listening(t, "stream", socket)}, "WATCHDOG_USEC=1000000")
	n := m.await(t, 0, "READY=1")
	for range 2 {
		answer, err := s.Client.Restart(t.Context(), &control.RestartRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Client.WaitRestarted(t.Context(), answer); err != nil {
			t.Fatal(err)
		}
		n = m.await(t, n, "RELOADING=1")
		if !slices.ContainsFunc(m.messages()[n-1].lines, func(l string) bool { return strings.HasPrefix(l, "MONOTONIC_USEC=") }) {
			t.Errorf("the reload is told without its time: %q", m.messages()[n-1].lines)
		}
		n = m.await(t, n, "READY=1")
		if !slices.Contains(m.messages()[n-1].lines, fmt.Sprintf("MAINPID=%d", d.Cmd.Process.Pid)) {
			t.Errorf("the next daemon said %q", m.messages()[n-1].lines)
		}
		n = m.await(t, n, "WATCHDOG=1")
	}
	if n := len(daemontest.Events[*event.DaemonStarted](t, s, event.KindDaemonStarted)); n != 3 {
		t.Errorf("%d starts are recorded", n)
	}
	d.Stop(t)
	if _, err := os.Stat(socket); err != nil {
		t.Errorf("the manager's socket is gone: %v", err)
	}
}
