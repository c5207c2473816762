package host

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/astrid-os/processledger/host/policy"
	"github.com/astrid-os/processledger/ledger/event"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew; commit the difference only if you understand it")

// golden compares text with a file of testdata.
func golden(t testing.TB, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs.\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

// stays is a program that runs until it is ended.
const stays = "while :; do sleep 0.05; done"

// gated is a program that ends once the file gate is there.
const gated = `until test -e "$WITNESS/gate"; do sleep 0.02; done`

// TestTranscripts holds, for each function of the host, the order of what it
// appends, when that is durable, what it does to the world and what it tells:
// no act before the sync of its receipt, no answer before the sync of its
// event.
func TestTranscripts(t *testing.T) {
	operator := event.Actor{Kind: event.ActorOperator, UID: 1000, Role: "operator"}
	background := func(w *world, body string) *Process {
		p, r := w.start(alice, body)
		w.began(r)
		w.traced()
		return p
	}
	ended := func(w *world, body string) *Process {
		p := background(w, body)
		if _, err := p.Wait(w.t.Context(), alice, nil); err != nil {
			w.t.Fatal(err)
		}
		w.traced()
		return p
	}
	short := 10 * time.Millisecond
	kept := func(w *world, body string, change ...func(*Request)) string {
		id, r := w.keep(alice, body, change...)
		w.began(r)
		w.traced()
		return id
	}
	keptEnded := func(w *world, body string) string {
		id := kept(w, body)
		w.endOf(w.kept(alice, id))
		w.traced()
		return id
	}
	cases := map[string]func(t *testing.T, w *world){
		"spawn": func(t *testing.T, w *world) {
			_, _ = w.host.Spawn(t.Context(), alice, w.script("true"))
		},
		"spawn-long": func(t *testing.T, w *world) {
			w.host.rides = time.Nanosecond
			_, _ = w.host.Spawn(t.Context(), alice, w.script("sleep 0.2"))
		},
		"spawn-no-program": func(t *testing.T, w *world) {
			_, _ = w.host.Spawn(t.Context(), alice, Request{Cmd: "no-such-program"})
		},
		"spawn-denied": func(t *testing.T, w *world) {
			_, _ = w.host.Spawn(t.Context(), alice, Request{Cmd: "rm"})
		},
		"spawn-invalid": func(t *testing.T, w *world) {
			up := ".."
			_, _ = w.host.Spawn(t.Context(), alice, Request{Cmd: "sh", Cwd: &up})
		},
		"spawn-lifetime": func(t *testing.T, w *world) {
			r := w.script("trap 'sleep 0.3; exit 0' TERM; " + stays)
			_, _ = w.host.Spawn(t.Context(), Caller{Principal: "hasty", Capsule: "builder", Instance: "i-9"}, r)
			w.until("it is released", func() bool { return w.live.Snapshot().HeldAll().Total() == 0 })
		},
		"spawn-caller-leaves": func(t *testing.T, w *world) {
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			w.passing = func(string) { leave() }
			_, _ = w.host.Spawn(ctx, alice, w.script("true"))
		},
		"spawn-background": func(t *testing.T, w *world) {
			_, _ = w.host.SpawnBackground(t.Context(), alice, w.script(stays))
		},
		"spawn-background-quota": func(t *testing.T, w *world) {
			background(w, stays)
			_, _ = w.host.SpawnBackground(t.Context(), Caller{Principal: "alice", Capsule: "other"}, w.script(stays))
		},
		"read-logs":    func(t *testing.T, w *world) { _, _ = background(w, stays).ReadLogs(t.Context(), alice) },
		"wait":         func(t *testing.T, w *world) { _, _ = background(w, "sleep 0.3").Wait(t.Context(), alice, nil) },
		"wait-timeout": func(t *testing.T, w *world) { _, _ = background(w, stays).Wait(t.Context(), alice, &short) },
		"kill":         func(t *testing.T, w *world) { _, _ = background(w, stays).Kill(t.Context(), alice) },
		"kill-ended":   func(t *testing.T, w *world) { _, _ = ended(w, "true").Kill(t.Context(), alice) },
		"signal": func(t *testing.T, w *world) {
			_ = background(w, "trap : USR1; "+stays).Signal(t.Context(), alice, SigUsr1)
		},
		"signal-ended": func(t *testing.T, w *world) { _ = ended(w, "true").Signal(t.Context(), alice, SigTerm) },
		"os-pid":       func(t *testing.T, w *world) { _, _ = background(w, stays).OSPid(alice) },
		"drop":         func(t *testing.T, w *world) { _ = background(w, stays).Drop(t.Context(), alice) },
		"drop-ended":   func(t *testing.T, w *world) { _ = ended(w, "true").Drop(t.Context(), alice) },
		"cancel": func(t *testing.T, w *world) {
			p := background(w, "trap 'sleep 0.3; exit 0' INT; "+stays)
			_, _ = w.host.Cancel(t.Context(), operator, CancelRequest{Principal: "alice", CallIDs: []string{"call-1"}})
			<-p.o.ended
		},
		"cancel-ignored": func(t *testing.T, w *world) {
			p := background(w, "trap '' INT; "+stays)
			_, _ = w.host.Cancel(t.Context(), operator, CancelRequest{Principal: "alice", CallIDs: []string{"call-1"}})
			<-p.o.ended
		},
		"cancel-reaches-none": func(t *testing.T, w *world) {
			_, _ = w.host.Cancel(t.Context(), operator, CancelRequest{Principal: "alice", CallIDs: []string{"call-1"}})
		},
		"retire": func(t *testing.T, w *world) {
			p := background(w, stays)
			_, _ = w.host.Cancel(t.Context(), operator, CancelRequest{Principal: "alice"})
			<-p.o.ended
		},
		"instance-gone": func(t *testing.T, w *world) {
			background(w, stays)
			w.host.InstanceGone(t.Context(), "alice", "builder", "i-1", "trap")
		},
		"invocation": func(t *testing.T, w *world) {
			_, i, err := w.host.BeginInvocation(t.Context(), alice, "tool_execute_x", []byte("{}"))
			if err == nil {
				err = i.Finish(Finished{Outcome: "ok", Returned: "continue"})
			}
			if err != nil {
				t.Error(err)
			}
		},
		"spawn-persistent": func(t *testing.T, w *world) {
			_, _ = w.host.SpawnPersistent(t.Context(), alice, w.script(stays))
		},
		"spawn-persistent-denied": func(t *testing.T, w *world) {
			_, _ = w.host.SpawnPersistent(t.Context(), Caller{Principal: "alice", Capsule: "third"}, w.script(stays))
		},
		"spawn-persistent-no-program": func(t *testing.T, w *world) {
			_, _ = w.host.SpawnPersistent(t.Context(), alice, Request{Cmd: "no-such-program"})
		},
		"registry-full": func(t *testing.T, w *world) {
			w.fill(alice, 32)
			w.traced()
			_, _ = w.host.SpawnPersistent(t.Context(), alice, w.script(stays))
			w.untraced(w.empty)
		},
		"attach": func(t *testing.T, w *world) { _, _ = w.host.Attach(t.Context(), alice, kept(w, stays)) },
		"attach-drop": func(t *testing.T, w *world) {
			p := w.attach(kept(w, stays))
			w.traced()
			_ = p.Drop(t.Context(), alice)
		},
		"no-such-process": func(t *testing.T, w *world) {
			id := kept(w, stays)
			w.byID(bob, id)
		},
		"list-processes": func(t *testing.T, w *world) {
			kept(w, stays)
			_, _ = w.host.ListProcesses(t.Context(), alice, nil)
		},
		"status": func(t *testing.T, w *world) { _, _ = w.host.ProcessStatus(t.Context(), alice, kept(w, stays)) },
		"wait-by-id": func(t *testing.T, w *world) {
			id := kept(w, gated)
			touch(t, w.witness+"/gate")
			_, _ = w.host.WaitProcess(t.Context(), alice, id, time.Minute)
		},
		"wait-by-id-timeout": func(t *testing.T, w *world) { _, _ = w.host.WaitProcess(t.Context(), alice, kept(w, stays), short) },
		"signal-by-id": func(t *testing.T, w *world) {
			_ = w.host.SignalProcess(t.Context(), alice, kept(w, "trap : USR1; "+stays), SigUsr1)
		},
		"read-since": func(t *testing.T, w *world) {
			_, _ = w.host.ReadSince(t.Context(), alice, kept(w, stays), Stdout, nil, 100)
		},
		"write-stdin-by-id": func(t *testing.T, w *world) {
			_, _ = w.host.WriteProcessStdin(t.Context(), alice, kept(w, "cat", open), []byte("x"))
		},
		"stop": func(t *testing.T, w *world) {
			_, _ = w.host.StopProcess(t.Context(), alice, kept(w, "trap 'sleep 0.3; exit 0' TERM; "+stays), nil)
		},
		"stop-ignored": func(t *testing.T, w *world) {
			grace := 300 * time.Millisecond
			_, _ = w.host.StopProcess(t.Context(), alice, kept(w, "trap '' TERM; "+stays), &grace)
		},
		"stop-ended":   func(t *testing.T, w *world) { _, _ = w.host.StopProcess(t.Context(), alice, keptEnded(w, "true"), nil) },
		"release":      func(t *testing.T, w *world) { _ = w.host.ReleaseProcess(t.Context(), alice, keptEnded(w, "true")) },
		"release-runs": func(t *testing.T, w *world) { _ = w.host.ReleaseProcess(t.Context(), alice, kept(w, stays)) },
		"idle": func(t *testing.T, w *world) {
			o := w.kept(alice, kept(w, "trap 'sleep 0.3; exit 0' TERM; "+stays, idleAfter(1500*time.Millisecond)))
			w.endOf(o)
		},
		"retention": func(t *testing.T, w *world) {
			kept(w, gated, retainedFor(200*time.Millisecond))
			touch(t, w.witness+"/gate")
			w.until("it is released", func() bool { return w.live.Snapshot().HeldAll().Total() == 0 })
		},
		"watch": func(t *testing.T, w *world) {
			id := kept(w, gated)
			_ = w.host.WatchProcess(t.Context(), alice, id, nil)
			touch(t, w.witness+"/gate")
			w.until("its exit is published", func() bool { return w.hasTraced("tell publish exited") })
		},
		"unwatch": func(t *testing.T, w *world) {
			id := kept(w, stays)
			_ = w.host.WatchProcess(t.Context(), alice, id, nil)
			w.traced()
			_ = w.host.UnwatchProcess(t.Context(), alice, id)
		},
		"cancel-spares-persistent": func(t *testing.T, w *world) {
			kept(w, stays)
			_, _ = w.host.Cancel(t.Context(), operator, CancelRequest{Principal: "alice", CallIDs: []string{"call-1"}})
		},
		"retire-persistent": func(t *testing.T, w *world) {
			o := w.kept(alice, kept(w, stays))
			_, _ = w.host.Cancel(t.Context(), operator, CancelRequest{Principal: "alice"})
			w.endOf(o)
		},
		"shutdown-spares-persistent": func(t *testing.T, w *world) {
			kept(w, stays)
			if err := w.host.Shutdown(t.Context(), "operator"); err != nil {
				t.Error(err)
			}
			w.untraced(func() { w.adopted() })
		},
		"shutdown": func(t *testing.T, w *world) {
			background(w, stays)
			if err := w.host.Shutdown(t.Context(), "operator"); err != nil {
				t.Error(err)
			}
		},
	}
	for name, run := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(w *world) {
				w.rides = time.Minute
				w.config.Default.Background = 1
				w.config.Principals = map[string]policy.Quotas{"hasty": {Sync: 1, MaxTimeout: 300 * time.Millisecond}}
			})
			w.traced()
			run(t, w)
			w.settled()
			got := w.traced()
			if strings.HasPrefix(name, "retire") {
				// A killed process may end before the canceller is told that
				// KILL was sent.
				got = strings.Replace(got, "tell cancel of 1\n", "", 1)
			}
			golden(t, filepath.Join("transcripts", name+".txt"), got)
		})
	}
}
