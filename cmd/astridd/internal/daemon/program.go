package daemon

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host/capsule"
	"github.com/astrid-os/processledger/host/policy"
	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// programs are the WASI programs that operators run now, by the name of the
// capsule that each is meanwhile.
type programs struct {
	mu sync.Mutex // held while one is recorded, too: its grant opens with its event

	running map[string]*program
}

// program is a program that runs, once or several times.
type program struct {
	capsule *capsule.Capsule
	runs    int
}

// Run implements serve.Backend.
func (d *Daemon) Run(ctx context.Context, by event.Actor, r *control.RunRequest, module []byte, stdin io.Reader, stdout, stderr io.Writer) (uint32, error) {
	e, err := d.taking()
	if err != nil {
		return 0, err
	}
	c, err := e.set.Program(ctx, r.Name, module, capsule.Grant{HostProcess: r.HostProcess, AllowPersistent: r.AllowPersistent})
	if err == nil {
		err = admissible(c)
	}
	if err != nil {
		return 0, control.Errorf(control.CodeNotRunnable, "%s cannot be run: %v", r.Name, err)
	}
	defer c.Close(context.WithoutCancel(ctx))
	if err := d.admit(ctx, e.policy.Gate(), c, by); err != nil {
		return 0, err
	}
	defer d.dismiss(context.WithoutCancel(ctx), e.policy.Gate(), c, by)
	call := r.CallID
	if call == "" {
		call = ulid.Make().String()
	}
	code, err := e.runner.RunCommand(ctx, c, capsule.Command{
		Principal: r.Principal, Args: r.Args, Stdin: stdin, Stdout: stdout, Stderr: stderr, CallID: call, Actor: by,
	})
	if err != nil {
		return 0, d.callError(err)
	}
	return code, nil
}

// admit records the program as a capsule and opens the gate for what it is
// granted. The same program may run several times at once, another of its name
// may not: what the first was granted would become the other's.
//
// A crash after the commit leaves a capsule that the ledger calls loaded and
// that nobody serves; daemon.started of the next run makes that good.
func (d *Daemon) admit(ctx context.Context, gate *policy.Gate, c *capsule.Capsule, by event.Actor) error {
	d.programs.mu.Lock()
	defer d.programs.mu.Unlock()
	if p := d.programs.running[c.Name]; p != nil {
		if !bytes.Equal(p.capsule.ManifestSHA256, c.ManifestSHA256) || !bytes.Equal(p.capsule.ModuleSHA256, c.ModuleSHA256) {
			return control.Errorf(control.CodeQuota, "another program is running as %s", c.Name).
				WithHint("wait for its end, or name this one differently")
		}
		p.runs++
		return nil
	}
	loaded := loadedEvent(c)
	loaded.Actor = by
	if err := d.record(ctx, loaded); err != nil {
		return fmt.Errorf("record the program: %w", err)
	}
	if err := gate.Set(c.Name, c.HostProcess); err != nil {
		return err // admissible has tried the same entries
	}
	gate.SetPersistent(c.Name, c.AllowPersistent)
	if d.programs.running == nil {
		d.programs.running = map[string]*program{}
	}
	d.programs.running[c.Name] = &program{c, 1}
	return nil
}

// dismiss closes the gate again after the last run, and records that. Where it
// cannot be recorded the gate is closed all the same.
func (d *Daemon) dismiss(ctx context.Context, gate *policy.Gate, c *capsule.Capsule, by event.Actor) {
	d.programs.mu.Lock()
	defer d.programs.mu.Unlock()
	p := d.programs.running[c.Name]
	if p.runs--; p.runs > 0 {
		return
	}
	delete(d.programs.running, c.Name)
	gate.Remove(c.Name)
	err := d.record(ctx, &event.Event{Scope: event.Scope{Capsule: c.Name, Actor: by}, Body: &event.CapsuleUnloaded{Reason: "ended"}})
	if err != nil {
		d.log.Warn("the end of a program's grant could not be recorded", "capsule", c.Name, "error", err)
	}
}

func (d *Daemon) record(ctx context.Context, e *event.Event) error {
	_, err := d.live.Load().Decide(ctx, func(*projector.State, ledger.Header) ([]*event.Event, error) { return []*event.Event{e}, nil })
	return err
}
