package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/host/policy"
	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/internal/worldcheck"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// driverEnv has this test binary run one workload as a process of its own, so
// that it can be killed at a crash point: "WORKLOAD DATA WITNESS SHIM ISOLATION".
const driverEnv = "ASTRID_HOST_DRIVER"

// driver is this test binary with crash points, built when first needed.
var driver = sync.OnceValue(func() string {
	out := shimBinary + "-driver"
	cmd := exec.Command("go", "test", "-c", "-tags", "crashpoints", "-o", out, ".")
	if text, err := cmd.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("build the driver: %v\n%s", err, text))
	}
	return out
})

// passes names, for each crash point of daemon and recovery, the workload that
// comes by it. A point without a line fails the test.
var passes = map[string]string{
	"daemon.spawn.prepared":      "spawn",
	"daemon.spawn.decided":       "spawn",
	"daemon.spawn.go":            "spawn",
	"daemon.spawn.started":       "background",
	"daemon.spawn.aborting":      "abort",
	"daemon.spawn.failing":       "fail",
	"daemon.exit.seen":           "spawn",
	"daemon.exit.recorded":       "background",
	"daemon.release.recorded":    "background",
	"daemon.release.trashed":     "spawn",
	"daemon.signal.asked":        "signal",
	"daemon.signal.requested":    "drop",
	"daemon.signal.sent":         "signal",
	"daemon.signal.recorded":     "signal",
	"daemon.timer.fired":         "lifetime",
	"daemon.stdin.closed":        "stdin",
	"daemon.handle.attached":     "attach",
	"daemon.watch.armed":         "watch",
	"daemon.watch.disarmed":      "watch",
	"daemon.stop.requested":      "stop",
	"daemon.cancel.requested":    "cancel",
	"daemon.invocation.started":  "invocation",
	"daemon.invocation.finished": "invocation",
	"daemon.shutdown.requested":  "shutdown",
	"daemon.stopped":             "shutdown",
	"recovery.started":           "recover",
	"recovery.end.requested":     "recover",
	"recovery.kill.requested":    "recover",
	"recovery.orphan.found":      "recover",
	"recovery.orphan.recorded":   "recover",
	"recovery.settled":           "recover",
	"recovery.finished":          "recover",
}

// again are more places worth dying at: a second passing, a cancel's later
// steps, and the daemon's own points while recovery passes them.
var again = [][2]string{
	{"daemon.signal.sent", "cancel"}, {"daemon.signal.sent#2", "cancel"}, {"daemon.signal.requested", "cancel"},
	{"daemon.exit.seen", "cancel"}, {"daemon.exit.recorded", "cancel"}, {"daemon.exit.recorded", "spawn"},
	{"daemon.signal.sent", "lifetime"}, {"daemon.exit.recorded", "fail"}, {"daemon.exit.recorded", "abort"},
	{"daemon.exit.recorded", "shutdown"}, {"daemon.spawn.aborting", "recover"},
	{"daemon.signal.sent", "recover"}, {"daemon.exit.seen", "recover"}, {"daemon.exit.recorded", "recover"},
	{"daemon.spawn.decided", "stop"}, {"daemon.spawn.go", "stop"}, {"daemon.spawn.started", "stop"},
	{"daemon.signal.sent", "stop"}, {"daemon.exit.seen", "stop"}, {"daemon.exit.recorded", "stop"}, {"daemon.release.recorded", "stop"},
	{"daemon.timer.fired", "idle"}, {"daemon.signal.sent", "idle"}, {"daemon.exit.recorded", "idle"},
	{"daemon.release.recorded", "retention"}, {"daemon.release.trashed", "retention"}, {"daemon.exit.recorded", "release"},
	{"daemon.release.recorded", "release"}, {"daemon.exit.recorded#2", "recover"}, {"daemon.release.recorded", "recover"}, {"daemon.release.trashed#2", "recover"},
}

// TestCrashes kills the daemon at every crash point of its own and of recovery,
// starts it again, and compares the ledger with the world.
func TestCrashes(t *testing.T) {
	for _, p := range crashpoint.Points {
		if p.Component != crashpoint.Daemon && p.Component != crashpoint.Recovery {
			continue
		}
		if passes[p.Name] == "" {
			t.Errorf("crash point %q has no test: name a workload that passes it", p.Name)
			continue
		}
		crashAt(t, p.Name, passes[p.Name])
	}
	for _, c := range again {
		crashAt(t, c[0], c[1])
	}
}

func crashAt(t *testing.T, point, workload string) {
	t.Run(point+"/"+workload, func(t *testing.T) {
		t.Parallel()
		driver() // built before the world: what is left there lives for seconds
		w := newWorld(t)
		if workload == "recover" {
			w.leaveWork()
		} else {
			w.abandon()
		}
		w.drive(point, workload)
		w.open()
		w.calm()
		// What outlives the daemon is there as it should be, and can be stopped.
		if list, err := w.host.ListProcesses(t.Context(), alice, nil); workload == "recover" &&
			(err != nil || len(list) != 2 || list[0].Phase != Running || list[1].Phase != Exited) {
			t.Errorf("what outlives the daemon: %+v, %v", list, err)
		}
		w.stopKept(t.Context())
		w.settled()
		w.check()
		// What the crash left is settled: it is as if nothing had ever run.
		if n := w.live.Snapshot().HeldAll().Total(); n != 0 {
			t.Errorf("%d handles are left", n)
		}
		if entries, err := os.ReadDir(filepath.Join(w.data, "processes")); err != nil || len(entries) != 0 {
			t.Errorf("%d process directories are left, %v", len(entries), err)
		}
		if left := worldcheck.Marked(w.witness); len(left) != 0 {
			t.Errorf("left over: %+v", left)
		}
		if s := w.live.Snapshot(); len(s.Cancels()) != 0 || len(s.Invocations()) != 0 {
			t.Errorf("%d cancels and %d invocations are open", len(s.Cancels()), len(s.Invocations()))
		}
		// And the world goes on.
		if _, err := w.host.Spawn(t.Context(), alice, w.script("true")); err != nil {
			t.Error(err)
		}
	})
}

// drive runs a workload in a process that dies at the point.
func (w *world) drive(point, workload string) {
	w.t.Helper()
	cmd := exec.Command(driver())
	cmd.Env = append(os.Environ(), "ASTRID_CRASH_AT="+point,
		fmt.Sprintf("%s=%s %s %s %s %s", driverEnv, workload, w.data, w.witness, w.shim, w.mode))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
		w.t.Fatalf("the driver did not die at %s: %v\n%s", point, err, out.String())
	}
}

// leaveWork leaves a dead daemon's world with something for every step of
// recovery: a decision without go, a silent shim, a running process, an exit, a
// directory without a handle and a shim of a released one; and two processes
// that outlive the daemon, one of which has ended.
func (w *world) leaveWork() {
	w.t.Helper()
	silent := w.script(stays)
	free := w.held("before-go", silent)
	w.stopShim(w.only())
	decided := w.held("before-go", w.script("true"))
	for range 2 {
		w.start(bob, stays)
	}
	ended := w.script("true")
	exited := w.held("after-go", ended)
	released := w.script(stays)
	orphan := w.held("after-go", released)
	w.began(released)
	for _, h := range w.live.Snapshot().Handles() {
		if w.nonceOf(h.Requested.Seq) == released.Args[2] {
			w.append(&event.Event{Scope: h.Scope(), Body: &event.ProcessLost{Reason: "may-have-run"}},
				&event.Event{Scope: h.Scope(), Body: &event.HandleReleased{Reason: "dropped"}})
		}
	}
	w.until("the program has ended", func() bool {
		found, err := w.hands.Scan()
		return err == nil && slices.ContainsFunc(found, func(f act.Found) bool { return f.Exit != nil && f.Dead })
	})
	if err := os.MkdirAll(filepath.Join(w.data, "processes", newID().String()), 0o700); err != nil {
		w.t.Fatal(err)
	}
	kept, r := w.keep(alice, stays)
	w.began(r)
	if err := w.host.WatchProcess(w.t.Context(), alice, kept, nil); err != nil {
		w.t.Fatal(err)
	}
	over, _ := w.keep(alice, "true")
	w.ended(over)
	w.leave(func() { free(); decided(); exited(); orphan() })
}

// nonceOf reads the nonce of a request.
func (w *world) nonceOf(seq uint64) string {
	e, err := w.live.Ledger().Get(w.t.Context(), seq)
	if err != nil {
		w.t.Fatal(err)
	}
	return e.Body.(*event.SpawnRequested).Args[2]
}

// drivenHost is what a workload works with.
type drivenHost struct {
	*Host
	witness string
	passing func(string)
	n       int
}

// driverMain runs one workload; it is expected to die on the way.
func driverMain(args string) int {
	var workload, data, witness, shim, mode string
	if _, err := fmt.Sscan(args, &workload, &data, &witness, &shim, &mode); err != nil {
		return driverFailed(err)
	}
	d, err := openDriven(data, witness, shim, mode)
	if err != nil {
		return driverFailed(err)
	}
	if err := workloads[workload](d); err != nil {
		return driverFailed(err)
	}
	if workload == "settle" {
		return 0 // without a word, as one that is killed
	}
	if err := d.Shutdown(context.Background(), "end of the workload"); err != nil {
		return driverFailed(err)
	}
	return 0
}

func driverFailed(err error) int {
	fmt.Fprintln(os.Stderr, "driver:", err)
	return 1
}

func openDriven(data, witness, shim, mode string) (*drivenHost, error) {
	live, err := projector.Open(filepath.Join(data, "ledger"), ledger.Options{})
	if err != nil {
		return nil, err
	}
	_, err = live.Decide(context.Background(), func(*projector.State, ledger.Header) ([]*event.Event, error) {
		return []*event.Event{{Scope: event.Scope{Actor: hostActor}, Body: &event.DaemonStarted{Version: "driver", Isolation: mode}}}, nil
	})
	if err != nil {
		return nil, err
	}
	hands, err := act.New(live.Ledger(), act.Options{Dir: data, Shim: shim, Isolation: mode})
	if err != nil {
		return nil, err
	}
	gate := policy.NewGate()
	if err := gate.Set("builder", []string{"sh", "no-such-program"}); err != nil {
		return nil, err
	}
	gate.SetPersistent("builder", true)
	config := policy.DefaultConfig()
	config.Principals = map[string]policy.Quotas{"hasty": {Sync: 1, MaxTimeout: 200 * time.Millisecond}}
	rules, err := policy.New(config, gate)
	if err != nil {
		return nil, err
	}
	d := &drivenHost{witness: witness}
	d.Host, err = New(Options{
		Live: live, Hands: hands, Policy: rules, Workspaces: filepath.Join(data, "workspaces"), RedactionKey: []byte("key"), ProcessIDKey: []byte("another key"),
		Isolation: mode, passing: func(p string) {
			if d.passing != nil {
				d.passing(p)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	_, err = d.Recover(context.Background())
	return d, err
}

func (d *drivenHost) script(body string) Request {
	w := world{witness: d.witness}
	w.nonces.Store(int64(d.n))
	d.n++
	return w.script(body)
}

// start runs a script in the background and waits until it has begun.
func (d *drivenHost) start(body string) (*Process, error) {
	r := d.script(body)
	p, err := d.SpawnBackground(context.Background(), alice, r)
	for err == nil {
		if _, e := os.Stat(filepath.Join(d.witness, r.Args[2])); e == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return p, err
}

// keep runs a script in the persistent tier and waits until it has begun.
func (d *drivenHost) keep(body string, change func(*Request)) (string, error) {
	r := d.script(body)
	r.MaxLifetimeMS = ptr(uint64(keptMS))
	change(&r)
	id, err := d.SpawnPersistent(context.Background(), alice, r)
	for err == nil {
		if _, e := os.Stat(filepath.Join(d.witness, r.Args[2])); e == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return id, err
}

// leaving tells whether something is on its way to its release.
func (d *drivenHost) leaving() bool {
	for _, o := range d.ownersOf(func(*owner) bool { return true }) {
		o.mu.Lock()
		wanted := o.release != ""
		o.mu.Unlock()
		if wanted {
			return true
		}
	}
	return false
}

// released waits until nothing is held, nor looked after.
func (d *drivenHost) released() error {
	for len(d.ownersOf(func(*owner) bool { return true })) > 0 {
		time.Sleep(time.Millisecond)
	}
	return nil
}

// workloads come by the crash points.
var workloads = map[string]func(*drivenHost) error{
	"recover": func(*drivenHost) error { return nil },
	"settle": func(d *drivenHost) error {
		for d.Progress().Settling > 0 || d.leaving() {
			time.Sleep(time.Millisecond)
		}
		return nil
	},
	"spawn": func(d *drivenHost) error {
		_, err := d.Spawn(context.Background(), alice, d.script("true"))
		return err
	},
	"background": func(d *drivenHost) error {
		p, err := d.start("true")
		if err != nil {
			return err
		}
		if _, err := p.Wait(context.Background(), alice, nil); err != nil {
			return err
		}
		return p.Drop(context.Background(), alice)
	},
	"drop": func(d *drivenHost) error {
		p, err := d.start(stays)
		if err != nil {
			return err
		}
		return p.Drop(context.Background(), alice)
	},
	"fail": func(d *drivenHost) error {
		if _, err := d.Spawn(context.Background(), alice, Request{Cmd: "no-such-program"}); err == nil {
			return errors.New("a program that does not exist was run")
		}
		return nil
	},
	"abort": func(d *drivenHost) error {
		ctx, leave := context.WithCancel(context.Background())
		defer leave()
		d.passing = func(string) { leave() }
		if _, err := d.Spawn(ctx, alice, d.script("true")); CodeOf(err) != Cancelled {
			return fmt.Errorf("want cancelled, got %v", err)
		}
		return nil
	},
	"signal": func(d *drivenHost) error {
		p, err := d.start("trap : USR1; " + stays)
		if err != nil {
			return err
		}
		return p.Signal(context.Background(), alice, SigUsr1)
	},
	"lifetime": func(d *drivenHost) error {
		hasty := Caller{Principal: "hasty", Capsule: "builder", Instance: "i-9"}
		if _, err := d.Spawn(context.Background(), hasty, d.script("trap '' TERM; "+stays)); CodeOf(err) != WaitTimeout {
			return fmt.Errorf("want wait-timeout, got %v", err)
		}
		return nil
	},
	"cancel": func(d *drivenHost) error {
		p, err := d.start("trap '' INT; " + stays)
		if err != nil {
			return err
		}
		if _, err := d.Cancel(context.Background(), operator, CancelRequest{Principal: "alice", CallIDs: []string{"call-1"}}); err != nil {
			return err
		}
		_, err = p.Wait(context.Background(), alice, nil)
		return err
	},
	"stop": func(d *drivenHost) error {
		id, err := d.keep("trap '' TERM; "+stays, func(*Request) {})
		if err != nil {
			return err
		}
		grace := 50 * time.Millisecond
		_, err = d.StopProcess(context.Background(), alice, id, &grace)
		return err
	},
	"stdin": func(d *drivenHost) error {
		id, err := d.keep("cat; "+stays, func(r *Request) { r.KeepStdinOpen = ptr(true) })
		if err != nil {
			return err
		}
		p, err := d.Attach(context.Background(), alice, id)
		if err != nil {
			return err
		}
		if _, err := p.WriteStdin(context.Background(), alice, []byte("one")); err != nil {
			return err
		}
		return p.CloseStdin(context.Background(), alice)
	},
	"attach": func(d *drivenHost) error {
		id, err := d.keep(stays, func(*Request) {})
		if err != nil {
			return err
		}
		_, err = d.Attach(context.Background(), alice, id)
		return err
	},
	"watch": func(d *drivenHost) error {
		id, err := d.keep(stays, func(*Request) {})
		if err == nil {
			err = d.WatchProcess(context.Background(), alice, id, nil)
		}
		if err == nil {
			err = d.UnwatchProcess(context.Background(), alice, id)
		}
		return err
	},
	"release": func(d *drivenHost) error {
		id, err := d.keep("true", func(*Request) {})
		if err != nil {
			return err
		}
		if _, err := d.WaitProcess(context.Background(), alice, id, time.Minute); err != nil {
			return err
		}
		return d.ReleaseProcess(context.Background(), alice, id)
	},
	"idle": func(d *drivenHost) error {
		_, err := d.keep("trap 'exit 0' TERM; "+stays, func(r *Request) {
			r.IdleTimeoutMS, r.ExitRetentionMS = ptr(uint64(50)), ptr(uint64(1))
		})
		if err != nil {
			return err
		}
		return d.released()
	},
	"retention": func(d *drivenHost) error {
		_, err := d.keep("true", func(r *Request) { r.ExitRetentionMS = ptr(uint64(50)) })
		if err != nil {
			return err
		}
		return d.released()
	},
	"invocation": func(d *drivenHost) error {
		_, i, err := d.BeginInvocation(context.Background(), alice, "tool_execute_x", []byte("{}"))
		if err != nil {
			return err
		}
		return i.Finish(Finished{Outcome: "ok", Returned: "continue"})
	},
	"shutdown": func(d *drivenHost) error {
		_, err := d.start("trap 'sleep 0.1; exit 0' TERM; " + stays)
		return err
	},
}
