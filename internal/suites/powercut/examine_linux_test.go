package powercut

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/host/policy"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// examiner is what a worker works with.
type examiner struct {
	raw  [][]byte // of the truth
	dir  string   // of hands of its own
	own  *projector.Live
	hand *act.Hands
}

// The tasks of a worker.
const (
	taskLedger  = "ledger"  // opens the ledger, reads it, and goes on in it
	taskScan    = "scan"    // reads the process directories
	taskRecover = "recover" // has the host settle what the cut left
)

func (x *examiner) examine(r request) *answer {
	a := &answer{}
	var err error
	switch r.Task {
	case taskLedger:
		err = x.ledger(r.Dir, a)
	case taskScan:
		err = x.scan(r.Dir, a)
	case taskRecover:
		err = x.recover(r.Dir, a)
	}
	if err != nil {
		a.Err = err.Error()
	}
	return a
}

// close lets go of the worker's own hands.
func (x *examiner) close() {
	if x.hand != nil {
		_ = x.hand.Close()
		_ = x.own.Close()
	}
}

// options are those of the recorded daemons' ledger.
func options() ledger.Options { return ledger.Options{SegmentEvents: segmentEvents} }

// hostScope is the scope of events that the host itself writes.
var hostScope = event.Scope{Actor: event.Actor{Kind: event.ActorHost}}

// ledger opens the ledger as a daemon does, reads it, and goes on in it.
func (x *examiner) ledger(dir string, a *answer) (err error) {
	live, err := projector.Open(filepath.Join(dir, "ledger"), options())
	if err != nil {
		return err
	}
	if err := x.read(live.Ledger(), a); err != nil {
		live.Close()
		return err
	}
	if err := begin(live); err != nil {
		live.Close()
		return fmt.Errorf("go on: %w", err)
	}
	return live.Close()
}

// read reads a ledger and compares it with the truth.
func (x *examiner) read(r ledger.Reader, a *answer) error {
	due, last := r.Bounds()
	a.Last = last
	for e, err := range r.Raw(context.Background(), 0, 0) {
		if err != nil {
			return err
		}
		if e.Seq != due {
			return fmt.Errorf("event %d where %d was due", e.Seq, due)
		}
		due++
		if a.Same == e.Seq-1 && int(e.Seq) <= len(x.raw) && bytes.Equal(e.Bytes, x.raw[e.Seq-1]) {
			a.Same = e.Seq
		}
	}
	return nil
}

// begin records the start of a daemon.
func begin(live *projector.Live) error {
	_, err := live.Decide(context.Background(), func(*projector.State, ledger.Header) ([]*event.Event, error) {
		return []*event.Event{{Scope: hostScope, Body: &event.DaemonStarted{Version: "after the power cut"}}}, nil
	})
	return err
}

// hands makes hands over a data directory. The binaries are built already.
func hands(live *projector.Live, dir string) (*act.Hands, error) {
	return act.New(live.Ledger(), act.Options{Dir: dir, Shim: os.Getenv(shimEnv), Isolation: os.Getenv(modeEnv)})
}

// seen is what act.Scan says of a process directory.
type seen struct {
	Handle  ulid.ULID
	Go      bool
	Dead    bool
	Started bool
	Failed  bool
	Exit    *event.Exit
	Damaged []string
}

// scan reads the process directories.
func (x *examiner) scan(dir string, a *answer) (err error) {
	if x.hand == nil {
		if err := os.MkdirAll(x.dir, 0o700); err != nil {
			return err
		}
		if x.own, err = projector.Open(filepath.Join(x.dir, "ledger"), options()); err != nil {
			return err
		}
		if x.hand, err = hands(x.own, x.dir); err != nil {
			return err
		}
	}
	place := filepath.Join(x.dir, "processes")
	if err := os.RemoveAll(place); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, "processes"), place); err != nil {
		if !os.IsNotExist(err) {
			return err
		}
		return nil // the cut came before it was made
	}
	found, err := x.hand.Scan()
	for _, f := range found {
		s := seen{Handle: f.ID, Go: f.Go, Dead: f.Dead, Started: f.Started != nil, Failed: f.Failed != nil, Damaged: f.Damaged}
		if f.Exit != nil {
			s.Exit = &f.Exit.Exited.Exit
		}
		a.Seen = append(a.Seen, s)
	}
	return err
}

// ended is what the ledger says of a process's end.
type ended struct {
	Handle ulid.ULID
	Kind   event.Kind
	Exit   *event.Exit
	Reason string
}

// recover does what a daemon does at its start.
func (x *examiner) recover(dir string, a *answer) (err error) {
	live, err := projector.Open(filepath.Join(dir, "ledger"), options())
	if err != nil {
		return err
	}
	defer live.Close()
	if err := x.read(live.Ledger(), a); err != nil {
		return err
	}
	if err := begin(live); err != nil {
		return err
	}
	h, err := hands(live, dir)
	if err != nil {
		return err
	}
	defer h.Close()
	rules, err := policy.New(policy.DefaultConfig(), policy.NewGate())
	if err != nil {
		return err
	}
	host, err := host.New(host.Options{
		Live: live, Hands: h, Policy: rules, Workspaces: filepath.Join(dir, "workspaces"),
		RedactionKey: []byte("a key"), ProcessIDKey: []byte("another key"), Isolation: os.Getenv(modeEnv),
	})
	if err != nil {
		return err
	}
	defer host.Close()
	ctx, cancel := context.WithTimeout(context.Background(), daemontest.Patience)
	defer cancel()
	if _, err := host.Recover(ctx); err != nil {
		return err
	}
	return outcomes(ctx, live, a)
}

// outcomes waits until nothing is counted as living, and tells how everything
// ended.
func outcomes(ctx context.Context, live *projector.Live, a *answer) error {
	for live.Snapshot().LiveAll().Total() > 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d processes are counted as living after the power cut", live.Snapshot().LiveAll().Total())
		case <-time.After(5 * time.Millisecond):
		}
	}
	for e, err := range live.Ledger().Events(ctx, 1, 0) {
		if err != nil {
			return err
		}
		end := ended{Handle: e.Handle, Kind: e.Kind()}
		switch b := e.Body.(type) {
		case *event.ProcessExited:
			end.Exit = &b.Exit
		case *event.ProcessLost:
			end.Reason = b.Reason
		case *event.SpawnAborted:
			end.Reason = b.Reason
		case *event.SpawnFailed:
		default:
			continue
		}
		a.Ends = append(a.Ends, end)
	}
	return nil
}
