package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/report"
	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

func newStatus(a *app) *cobra.Command {
	var j *jsonFlag
	cmd := &cobra.Command{
		Use: "status", Short: "Tell how the daemon and its ledger are", Args: noArgs,
		Long: `Tell how the daemon and its ledger are: whether it is ready, what it found at its
start, how many processes each principal and capsule has, and whatever does not
work as configured. Without a daemon: what the ledger's files tell.

The exit code is 0 if a daemon answers, or if files were named with --ledger,
and 4 if no daemon answers.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.status(cmd.Context(), j) },
	}
	j = addJSON(cmd, statusFields)
	return cmd
}

// statusFields are the fields of statusView's JSON.
var statusFields = []string{
	"running", "version", "api", "pid", "uid", "started", "phase", "problems", "data", "socket", "config", "isolation",
	"ledger", "recovery", "progress", "restart", "live", "retained", "usage", "capsules",
}

// statusView is the JSON of status: the daemon's own, and whether it runs.
// Without a daemon only what the files tell is filled in.
type statusView struct {
	Running bool `json:"running"`
	*control.Status
}

func (a *app) status(ctx context.Context, j *jsonFlag) error {
	if err := j.check(); err != nil {
		return err
	}
	src, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer src.close()
	v, err := statusOf(ctx, src)
	if err != nil {
		return err
	}
	if j.on() {
		err = j.write(a.stdout, v)
	} else {
		err = a.showStatus(v, src)
	}
	if err == nil && !v.Running && a.ledgerDir == "" {
		return silentError{exitUnreachable}
	}
	return err
}

func statusOf(ctx context.Context, src source) (*statusView, error) {
	switch s := src.(type) {
	case *daemonSource:
		st, err := s.client.Status(ctx)
		return &statusView{true, st}, err
	case *fileSource:
		st, err := s.status(ctx)
		return &statusView{false, st}, err
	}
	return nil, fmt.Errorf("no status of %s", src.where())
}

// status is what the files tell about the daemon that wrote them last.
func (f *fileSource) status(ctx context.Context) (*control.Status, error) {
	first, last := f.archive.Bounds()
	st := &control.Status{
		Problems: []string{"no daemon runs"},
		Ledger:   control.LedgerStatus{ID: f.archive.ID().String(), First: first, Last: last},
		Usage:    []control.Usage{},
	}
	s, err := projector.At(ctx, f.archive, last)
	if err != nil {
		return nil, err
	}
	if run, ok := s.Run(); ok {
		st.Version, st.UID, st.Isolation.Mode = run.Version, int(run.UID), run.Isolation
		st.Started = time.Unix(0, run.Started.Wall).UTC()
		if run.Stopped.Seq == 0 {
			st.Problems = append(st.Problems, "the last daemon did not stop in good order; the next start recovers what it left")
		}
	}
	if st.Recovery, err = f.recovery(ctx, s); err != nil {
		return nil, err
	}
	live := s.LiveAll()
	st.Live, st.Retained = int(live.Total()), len(s.Handles())-int(live.Total())
	st.Usage, st.Capsules = append(st.Usage, control.UsageOf(s)...), len(s.Capsules())
	return st, nil
}

// recovery is what the last daemon found at its start, nil if that did not
// finish.
func (f *fileSource) recovery(ctx context.Context, s *projector.State) (*control.Recovery, error) {
	run, ok := s.Run()
	if !ok || run.Recovered.Seq == 0 {
		return nil, nil
	}
	e, err := f.archive.Get(ctx, run.Recovered.Seq)
	if err != nil {
		return nil, err
	}
	if b, ok := e.Body.(*event.RecoveryFinished); ok {
		return control.RecoveryOf(b), nil
	}
	return nil, nil
}

func (a *app) showStatus(v *statusView, src source) error {
	t := ui.NewTable(a.palette(), 0)
	add := func(name, value string) { t.Row(ui.Plain, name, value) }
	if v.Running {
		add("daemon", fmt.Sprintf("%s, version %s, pid %d, uid %d, since %s", v.Phase, v.Version, v.PID, v.UID, ui.Time(v.Started, a.zone())))
		add("data", v.Data)
		add("socket", v.Socket)
		add("config", cmp.Or(v.Config, "none"))
		add("isolation", isolationText(&v.Isolation))
	} else {
		add("daemon", "does not run; last started "+ui.Time(v.Started, a.zone()))
	}
	add("ledger", ledgerText(&v.Ledger, src, a.zone()))
	if v.Restart != nil {
		add("restart", a.restartText(v.Restart))
	}
	if text := recoveryText(v.Status); text != "" {
		add("recovery", text)
	}
	add("processes", fmt.Sprintf("%d live, %d ended and not yet released", v.Live, v.Retained))
	add("capsules", fmt.Sprint(v.Status.Capsules))
	if _, err := t.WriteTo(a.stdout); err != nil {
		return err
	}
	if len(v.Usage) > 0 {
		if err := a.showUsage(v.Usage); err != nil {
			return err
		}
	}
	for i, p := range v.Problems {
		if i == 0 {
			fmt.Fprintln(a.stdout)
		}
		fmt.Fprintln(a.stdout, a.palette().Paint(ui.Warn, "problem: "+ui.Safe(p)))
	}
	return nil
}

func isolationText(i *control.Isolation) string {
	if i.Mode == "" {
		return "not known yet: the daemon is starting"
	}
	s := i.Mode
	if i.Applied != "" && i.Applied != i.Mode {
		s += ", here " + i.Applied
	}
	if !i.Available {
		s += ", not available: " + i.Reason
	}
	return s
}

func ledgerText(l *control.LedgerStatus, src source, zone *time.Location) string {
	s := fmt.Sprintf("%s, events %d to %d", l.ID, l.First, l.Last)
	if l.State == control.LedgerDamaged {
		return "damaged: nothing is started; what runs can be listed and ended"
	}
	if f, ok := src.(*fileSource); ok {
		s += ", in " + f.dir
	}
	if l.State != "" && l.State != "ok" && l.Since != nil {
		s += fmt.Sprintf("; %s since %s", l.State, ui.Time(*l.Since, zone))
	}
	return s
}

// recoveryText says how far the recovery has come, or what it found; empty where
// there was none.
func recoveryText(s *control.Status) string {
	switch r := s.Recovery; {
	case r == nil && s.Progress == nil:
		return ""
	case r == nil:
		return fmt.Sprintf("%d of %d matched", s.Progress.Matched, s.Progress.Total)
	default:
		text := strings.Join(report.Found(r.Event()), ", ") + ", in " + ui.Duration(time.Duration(r.TookNano))
		if r.Settling > 0 {
			text += fmt.Sprintf("; %d of them now", r.Settling)
		}
		return text
	}
}
