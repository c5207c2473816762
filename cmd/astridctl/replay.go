package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/query"
	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/projector"
)

func newReplay(a *app) *cobra.Command {
	var at string
	var all bool
	var j *jsonFlag
	cmd := &cobra.Command{
		Use: "replay --at SEQ|TIME", Short: "Show the handle table and counters as they were", Args: noArgs,
		Long: `Replay the ledger up to a moment and show what was then: the counters, the
processes, the calls that were under way. A plain number is the seq of an event;
anything else is a time, and stands for the last event up to it.`,
		Example: "  astridctl replay --at 1234\n  astridctl replay --at '2 hours ago' --json",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.replay(cmd.Context(), at, all, j) },
	}
	cmd.Flags().StringVar(&at, "at", "", "the moment: a `SEQ`, or a time; without it, now")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "also processes that had ended and were not yet released")
	j = addJSON(cmd, stateFields)
	return cmd
}

func (a *app) replay(ctx context.Context, at string, all bool, j *jsonFlag) error {
	if err := j.check(); err != nil {
		return err
	}
	src, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer src.close()
	seq, err := a.seqOf(ctx, src, at)
	if err != nil {
		return err
	}
	state, err := a.stateAt(ctx, src, seq)
	if err != nil {
		return err
	}
	if j.on() {
		return j.write(a.stdout, stateJSON(state))
	}
	return a.showState(state, all)
}

// seqOf turns a seq or a time into a seq: of a time the last event up to it.
func (a *app) seqOf(ctx context.Context, src source, at string) (uint64, error) {
	first, last, err := src.bounds(ctx)
	if err != nil {
		return 0, err
	}
	if at == "" {
		return last, nil
	}
	if seq, err := strconv.ParseUint(at, 10, 64); err == nil {
		if seq > last || seq+1 < first {
			return 0, nothingf("event %d is not in this ledger, which holds %d to %d", seq, first, last)
		}
		return seq, nil
	}
	t, err := query.ParseTime(at, a.moment())
	if err != nil {
		return 0, usagef("--at: %v", err)
	}
	q := &control.EventsQuery{Filter: query.Filter{Until: t}, Reverse: true, Limit: 1}
	for e, err := range src.events(ctx, q) {
		if err != nil {
			return 0, err
		}
		return e.Seq, nil
	}
	if first > 1 {
		return 0, nothingf("this ledger begins with event %d, after %s", first, ui.Time(t, a.zone()))
	}
	return 0, nil // before the first event there was nothing
}

// showState shows a state for people.
func (a *app) showState(s *projector.State, all bool) error {
	at := time.UnixMilli(int64(s.OrderTime()))
	if s.Seq() == 0 {
		at = time.Time{}
	}
	p := a.palette()
	fmt.Fprintf(a.stdout, "%s\n", p.Paint(ui.Bold, fmt.Sprintf("State after event %d, at %s", s.Seq(), ui.Time(at, a.zone()))))
	if run, ok := s.Run(); ok {
		fmt.Fprintf(a.stdout, "%s\n", runText(&run, a.zone()))
	}
	t := s.Totals()
	fmt.Fprintf(a.stdout, "So far %s: %d granted, %d refused; %d exited, %d lost, %d failed, %d aborted.\n",
		ui.Count(t.Requested, "spawn"), t.Granted, t.Refused, t.Exited, t.Lost, t.Failed, t.Aborted)
	if err := a.showUsage(control.UsageOf(s)); err != nil {
		return err
	}
	table := control.TableOf(s, all)
	fmt.Fprintln(a.stdout)
	if _, err := a.handleTable(table.Handles, 0, at).WriteTo(a.stdout); err != nil {
		return err
	}
	return a.showOpen(s)
}

func runText(r *projector.Run, zone *time.Location) string {
	s := fmt.Sprintf("The daemon had started at %s (version %s, pid %d, isolation %s)", ui.Time(ui.Nanos(r.Started.Wall), zone), ui.Safe(r.Version), r.PID, ui.Safe(r.Isolation))
	switch {
	case r.Stopped.Seq > 0:
		return s + " and had stopped at " + ui.Time(ui.Nanos(r.Stopped.Wall), zone) + "."
	case r.Recovering:
		return s + " and was recovering."
	}
	return s + "."
}

// showUsage shows counters of live processes.
func (a *app) showUsage(usage []control.Usage) error {
	if len(usage) == 0 {
		return nil
	}
	fmt.Fprintln(a.stdout)
	t := ui.NewTable(a.palette(), 0, "LIVE PROCESSES OF", "BACKGROUND", "WAITED FOR", "PERSISTENT")
	for _, u := range usage {
		t.Row(ui.Plain, u.Scope, capped(u.Background, u.Cap), capped(u.Sync, u.SyncCap), fmt.Sprint(u.Persistent))
	}
	_, err := t.WriteTo(a.stdout)
	return err
}

// capped shows a count with its cap, where one is known.
func capped(n, limit uint32) string {
	if limit == 0 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d of %d", n, limit)
}

// showOpen shows what was under way: calls and cancels.
func (a *app) showOpen(s *projector.State) error {
	if calls := s.Invocations(); len(calls) > 0 {
		fmt.Fprintln(a.stdout)
		t := ui.NewTable(a.palette(), 0, "CALL UNDER WAY", "PRINCIPAL", "CAPSULE", "ACTION", "SINCE EVENT")
		for _, c := range calls {
			t.Row(ui.Plain, c.CallID, c.Principal, c.Capsule, c.Action, fmt.Sprint(c.Started.Seq))
		}
		if _, err := t.WriteTo(a.stdout); err != nil {
			return err
		}
	}
	if cancels := s.Cancels(); len(cancels) > 0 {
		fmt.Fprintln(a.stdout)
		t := ui.NewTable(a.palette(), 0, "CANCEL UNDER WAY", "PRINCIPAL", "CAPSULE", "REMAINING", "SINCE EVENT")
		for _, c := range cancels {
			t.Row(ui.Plain, c.ID.String(), c.Principal, c.Capsule, fmt.Sprintf("%d of %d", len(c.Remaining), c.Reached), fmt.Sprint(c.Requested.Seq))
		}
		if _, err := t.WriteTo(a.stdout); err != nil {
			return err
		}
	}
	return nil
}
