package daemon

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/astrid-os/processledger/host/capsule"
	"github.com/astrid-os/processledger/host/policy"
	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// loaded is the outcome of loading the capsules.
type loaded struct {
	set *capsule.Set
	err error
}

// loadCapsules compiles the capsules. It needs nothing of the ledger, so it
// runs beside the start: a large module takes seconds when its compiled form
// is not in the cache.
func (d *Daemon) loadCapsules(ctx context.Context) <-chan loaded {
	out := make(chan loaded, 1)
	go func() {
		set, err := d.compile(ctx)
		out <- loaded{set, err}
	}()
	return out
}

func (d *Daemon) compile(ctx context.Context) (*capsule.Set, error) {
	if filepath.Dir(d.cfg.Capsules) == d.cfg.Data {
		if err := os.MkdirAll(d.cfg.Capsules, 0o700); err != nil {
			return nil, fmt.Errorf("capsules: %w", err)
		}
	}
	if _, err := os.Stat(d.cfg.Capsules); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("capsules: the directory %s does not exist; make it, or set capsules_dir", d.cfg.Capsules)
	}
	return capsule.Load(ctx, capsule.LoadOptions{
		Dir: d.cfg.Capsules, Cache: filepath.Join(d.cfg.Data, "cache"), Log: d.log,
	})
}

// takeCapsules records what was loaded, opens the gate for it and takes it into
// service. A crash before the last leaves capsules that the ledger calls loaded
// and that nobody serves; daemon.started of the next run makes that good. A
// setup that was due then is due again.
func (d *Daemon) takeCapsules(ctx context.Context, e *engine) error {
	list, admitted := d.judge(e.set)
	var due []capsule.Due
	_, err := d.live.Load().DecideEnding(ctx, func(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
		due = dueOf(tip, admitted)
		return capsuleEvents(tip, admitted), nil
	})
	if err != nil {
		return fmt.Errorf("record the capsules: %w", err)
	}
	for _, c := range admitted {
		if err := e.policy.Gate().Set(c.Name, c.HostProcess); err != nil {
			return err // judge has tried the same entries
		}
		e.policy.Gate().SetPersistent(c.Name, c.AllowPersistent)
		d.log.Info("capsule is loaded", "capsule", c.Name, "version", c.Version, "host_process", c.HostProcess)
	}
	d.mu.Lock()
	d.capsules = list
	d.mu.Unlock()
	for i, c := range admitted {
		e.runner.Start(c, due[i])
	}
	return nil
}

// dueOf tells for each capsule what its setup lacks, as far as the ledger knows.
func dueOf(s *projector.State, served []*capsule.Capsule) []capsule.Due {
	due := make([]capsule.Due, len(served))
	for i, c := range served {
		before, loaded := s.Capsule(c.Name)
		switch known, ok := s.Installed(c.Name); {
		case !ok && !c.Forms.Install && loaded && !slices.Equal(before.ModuleSHA256, c.ModuleSHA256):
			// Nothing tells that it was set up, since there is nothing to call
			// for that; but another module of it was served.
			due[i] = capsule.DueUpgrade
		case !ok:
			due[i] = capsule.DueInstall
		case !slices.Equal(known.ModuleSHA256, c.ModuleSHA256):
			due[i] = capsule.DueUpgrade
		}
	}
	return due
}

// judge decides which of the compiled capsules are served, and lists all.
func (d *Daemon) judge(set *capsule.Set) (list []control.Capsule, admitted []*capsule.Capsule) {
	for _, c := range set.Capsules() {
		row := rowOf(c)
		if err := admissible(c); err != nil {
			row.Loaded, row.Problem = false, err.Error()
			d.problem(fmt.Sprintf("capsule %s is not served: %v", c.Name, err))
		} else {
			admitted = append(admitted, c)
		}
		list = append(list, row)
	}
	for _, f := range set.Failed() {
		list = append(list, control.Capsule{Name: filepath.Base(f.Dir), Problem: f.Err.Error(), HostProcess: []string{}})
		d.problem(f.Error())
	}
	slices.SortFunc(list, func(a, b control.Capsule) int { return strings.Compare(a.Name, b.Name) })
	return list, admitted
}

// admissible tells why a capsule that compiles is not served: an entry that no
// gate takes, or a manifest that no event can hold, which would be a policy
// that the ledger cannot tell.
func admissible(c *capsule.Capsule) error {
	if err := policy.NewGate().Set(c.Name, c.HostProcess); err != nil {
		return err
	}
	if n := len(event.Encode(loadedEvent(c))); n > event.MaxEncoded-256 { // room for the header
		return fmt.Errorf("its manifest is too long to be recorded: %d bytes, at most %d fit", n, event.MaxEncoded-256)
	}
	return nil
}

func rowOf(c *capsule.Capsule) control.Capsule {
	row := control.Capsule{
		Name: c.Name, Version: c.Version, Loaded: true, HostProcess: append([]string{}, c.HostProcess...),
		AllowPersistent: c.AllowPersistent,
		ModuleSHA256:    hex.EncodeToString(c.ModuleSHA256), ManifestSHA256: hex.EncodeToString(c.ManifestSHA256),
	}
	for _, h := range c.Handlers {
		row.Actions = append(row.Actions, h.Action)
	}
	slices.Sort(row.Actions)
	row.Actions = slices.Compact(row.Actions)
	return row
}

// capsuleEvents are what makes the state agree with the capsules served: those
// that are gone are unloaded, those that are new or changed loaded.
func capsuleEvents(s *projector.State, served []*capsule.Capsule) (es []*event.Event) {
	for _, old := range s.Capsules() {
		if !slices.ContainsFunc(served, func(c *capsule.Capsule) bool { return c.Name == old.Name }) {
			scope := event.Scope{Capsule: old.Name, Actor: event.Actor{Kind: event.ActorHost}}
			es = append(es, &event.Event{Scope: scope, Body: &event.CapsuleUnloaded{Reason: "removed"}})
		}
	}
	for _, c := range served {
		old, ok := s.Capsule(c.Name)
		if !ok || !slices.Equal(old.ManifestSHA256, c.ManifestSHA256) || !slices.Equal(old.ModuleSHA256, c.ModuleSHA256) {
			es = append(es, loadedEvent(c))
		}
	}
	return es
}

func loadedEvent(c *capsule.Capsule) *event.Event {
	return &event.Event{
		Scope: event.Scope{Capsule: c.Name, Actor: event.Actor{Kind: event.ActorHost}},
		Body: &event.CapsuleLoaded{
			Version: c.Version, Manifest: c.ManifestText, ManifestSHA256: c.ManifestSHA256,
			ModuleSHA256: c.ModuleSHA256, ModuleBytes: c.ModuleBytes,
			HostProcess: c.HostProcess, AllowPersistent: c.AllowPersistent,
		},
	}
}

// Capsules implements serve.Backend.
func (d *Daemon) Capsules() *control.Capsules {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &control.Capsules{Capsules: append([]control.Capsule{}, d.capsules...)}
}

// served returns an error for a capsule that is not invoked.
func (d *Daemon) served(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for _, c := range d.capsules {
		if c.Name == name && !c.Loaded {
			return control.Errorf(control.CodeFailed, "capsule %s is not served: %s", name, c.Problem)
		}
		if c.Name == name {
			return nil
		}
		names = append(names, c.Name)
	}
	return control.Errorf(control.CodeNotFound, "there is no capsule %q", name).
		WithHint("capsules in %s: %s", d.cfg.Capsules, strings.Join(names, ", "))
}
