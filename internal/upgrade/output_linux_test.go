package upgrade

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/ledger/event"
)

// Programs that write a number a line until their gate opens, and tell their
// witness how far they came: as fast as they can, and slowly enough for a ring to
// hold what nobody reads for half a minute.
const (
	flatOut = `echo start >>"$WITNESS/$0"; i=0
while [ ! -e "$WITNESS/$1" ]; do i=$((i+1)); echo $i; done; echo "end $i" >>"$WITNESS/$0"`
	steady = `echo start >>"$WITNESS/$0"; i=0
while [ ! -e "$WITNESS/$1" ]; do i=$((i+1)); echo $i; sleep 0.002; done; echo "end $i" >>"$WITNESS/$0"`
)

// TestOutputOverRestarts: over restarts to and from another version, each line of
// persistent programs is there once and in order: for a capsule that reads by
// cursors, for an operator who follows, and by the digest of all that was written.
func TestOutputOverRestarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin(t, "persistent", "flat", flatOut)
	w.begin(t, "persistent", "steady", steady)
	flat, slow := w.handle(t, "flat"), w.handle(t, "steady")
	followed := w.follow(t, "logs", slow.ID, "-f")
	log := w.follow(t, "log", "-f", "--json=seq")

	reader := &cursorReader{w: w}
	pid := 0
	for i := range 5 {
		binary := w.next
		if i%2 == 1 {
			binary = w.here
		}
		read := make(chan error, 1)
		go func() { read <- reader.more(t, 3) }() // while the daemon is restarted
		st := w.restart(t, binary)
		if err := <-read; err != nil {
			t.Fatalf("a read over restart %d: %v", i, err)
		}
		if (binary == w.next) != (st.Version == "next") || st.Restart == nil || st.Restart.Problem != "" || st.Recovery.Adopted != 2 {
			t.Errorf("after restart %d: %+v, restart %+v, recovery %+v", i, st, st.Restart, st.Recovery)
		}
		if pid != 0 && st.PID != pid {
			t.Errorf("the daemon has become another process: %d was %d", st.PID, pid)
		}
		pid = st.PID
		t.Logf("restart %d: calls had %d µs to end, nobody in charge for %d ms", i, st.Restart.DrainNano/1e3, st.Restart.GapNano/1e6)
	}
	if now := w.handle(t, "flat"); now.PID != flat.PID {
		t.Errorf("the program is another: %d was %d", now.PID, flat.PID)
	}
	w.Release(t, "flat")
	w.Release(t, "steady")
	w.whole(t, "flat", flat.ID)
	all := w.whole(t, "steady", slow.ID)
	if err := reader.toEnd(t); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(reader.got, all) || reader.dropped != 0 {
		t.Errorf("by cursors %d bytes were read and %d dropped, of %d", len(reader.got), reader.dropped, len(all))
	}
	if got := followed.end(t); !bytes.Equal(got, all) {
		t.Errorf("the follower got %d bytes, not the %d that were written", len(got), len(all))
	}
	w.follower(t, log)
	w.ledgerTells(t, 5)
	w.stopAll(t)
}

// cursorReader reads a process as its capsule does.
type cursorReader struct {
	w       *world
	cursor  string
	got     []byte
	dropped uint64
	eof     bool
}

// more reads n times.
func (r *cursorReader) more(t testing.TB, n int) error {
	for range n {
		out, err := r.w.Drive(t.Context(), "alice", "read", step{Op: "read", Name: "steady", Cursor: r.cursor})
		if err != nil {
			return err
		}
		r.got = append(r.got, out[0].Stdout...)
		r.dropped += out[0].Dropped
		r.cursor, r.eof = out[0].Cursor, out[0].EOF
	}
	return nil
}

func (r *cursorReader) toEnd(t testing.TB) error {
	for !r.eof {
		if err := r.more(t, 1); err != nil {
			return err
		}
	}
	return nil
}

// follow runs astridctl in the background.
func (w *world) follow(t testing.TB, args ...string) *following {
	t.Helper()
	f := &following{cmd: exec.Command(w.ctl, append([]string{"--data", w.Data}, args...)...), out: filepath.Join(w.Dir, "followed-"+args[0])}
	out, err := os.Create(f.out)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	f.cmd.Stdout, f.cmd.Stderr = out, &f.said
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.over = make(chan error, 1)
	go func() { f.over <- f.cmd.Wait() }()
	t.Cleanup(func() { _ = f.cmd.Process.Kill() })
	return f
}

// following is an astridctl that follows.
type following struct {
	cmd  *exec.Cmd
	out  string
	said bytes.Buffer
	over chan error
}

// end is what it wrote, once it has ended by itself.
func (f *following) end(t testing.TB) []byte {
	t.Helper()
	if err := <-f.over; err != nil {
		t.Errorf("%v: %v: %s", f.cmd.Args, err, f.said.String())
	}
	b, err := os.ReadFile(f.out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// follower holds that whoever followed the ledger has had each event once.
func (w *world) follower(t testing.TB, f *following) {
	t.Helper()
	st, err := w.Client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for seq := uint64(1); seq <= st.Ledger.Last; seq++ {
		want = append(strconv.AppendUint(append(want, `{"seq":`...), seq, 10), "}\n"...)
	}
	var got []byte
	daemontest.Eventually(t, "the follower has had all events", func() bool {
		got, _ = os.ReadFile(f.out)
		return len(got) >= len(want)
	})
	if !bytes.HasPrefix(got, want) {
		t.Errorf("the follower had %q", got)
	}
}

// ledgerTells holds that the ledger names both sides of n restarts.
func (w *world) ledgerTells(t testing.TB, n int) {
	t.Helper()
	var starts []*event.DaemonStarted
	var stops []*event.DaemonStopped
	for _, b := range daemontest.Events[*event.DaemonStarted](t, w.Site, event.KindDaemonStarted) {
		if b.Replaces != "" {
			starts = append(starts, b)
		}
	}
	for _, b := range daemontest.Events[*event.DaemonStopped](t, w.Site, event.KindDaemonStopped) {
		if b.Reason == "restart" {
			stops = append(stops, b)
		}
	}
	if len(starts) != n || len(stops) != n {
		t.Fatalf("%d restarts are told from the one side and %d from the other, not %d", len(stops), len(starts), n)
	}
	for i := range stops {
		if stops[i].Successor != starts[i].Version || stops[i].Binary == "" || starts[i].GapNano <= 0 {
			t.Errorf("restart %d: %+v then %+v", i, stops[i], starts[i])
		}
	}
}
