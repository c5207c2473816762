package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/report"
	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/ledger/event"
)

func newStop(a *app) *cobra.Command {
	var grace time.Duration
	var j *jsonFlag
	cmd := &cobra.Command{
		Use: "stop ID", Short: "End one process", Args: oneArg("id"),
		Long: `End one process and all its descendants: TERM now, and KILL after the grace to
what is still there. The verb returns once the end is recorded, and tells how it
came. A persistent process is released with it: its capsule's id for it is gone.

ID is a process's id or a unique beginning of it, as astridctl ps shows them.
Exit code 3 if no such process is held.`,
		Example: "  astridctl stop 01KKNT\n  astridctl stop 01KKNT --grace 30s",
		RunE: func(cmd *cobra.Command, args []string) error {
			r := &control.StopRequest{}
			if cmd.Flags().Changed("grace") {
				r.GraceNano = new(grace.Nanoseconds())
			}
			return a.stop(cmd.Context(), args[0], r, j)
		},
	}
	cmd.Flags().DurationVar(&grace, "grace", 5*time.Second, "`TIME` from TERM to KILL, 30s at most")
	j = addJSON(cmd, stopFields)
	return cmd
}

// stopFields are the fields of control.StopAnswer's JSON.
var stopFields = []string{"id", "exit", "cause", "released", "unrecorded"}

func (a *app) stop(ctx context.Context, id string, r *control.StopRequest, j *jsonFlag) error {
	if err := j.check(); err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if r.ID, err = heldHandle(ctx, c, id); err != nil {
		return err
	}
	answer, err := a.awaitStop(ctx, c, r)
	if err != nil {
		return err
	}
	if j.on() {
		return j.write(a.stdout, answer)
	}
	_, err = fmt.Fprintln(a.stdout, stopText(answer))
	return err
}

func (a *app) awaitStop(ctx context.Context, c *control.Client, r *control.StopRequest) (*control.StopAnswer, error) {
	p := ui.StartProgress(a.stderr, "waiting for the end of "+r.ID)
	defer p.Stop()
	return c.Stop(ctx, r)
}

func stopText(answer *control.StopAnswer) string {
	s := answer.ID + " ended in a way that is not known"
	if x := answer.Exit; x != nil {
		s = answer.ID + " " + report.Exit(event.Exit{Code: x.Code, Signal: x.Signal})
	}
	if answer.Cause != "stop" && answer.Cause != "" {
		s += ", before the stop came to it (" + ui.Safe(answer.Cause) + ")"
	}
	if answer.Released {
		s += ", and is released"
	}
	if answer.Unrecorded {
		s += "; the ledger is damaged, and the next daemon that has one records it"
	}
	return s
}

// heldHandle returns the whole id of the one process that the daemon holds and
// whose id begins so.
func heldHandle(ctx context.Context, c *control.Client, id string) (string, error) {
	table, err := c.Ps(ctx, true)
	if err != nil {
		return "", err
	}
	var found []string
	for i := range table.Handles {
		if h := table.Handles[i].ID; id != "" && strings.HasPrefix(h, strings.ToUpper(id)) {
			found = append(found, h)
		}
	}
	switch len(found) {
	case 0:
		return "", ui.Hint(nothingf("no process %s is held by the daemon", ui.Safe(id)), "list them with: astridctl ps -a, and what is over with: astridctl log")
	case 1:
		return found[0], nil
	}
	return "", usagef("%s begins the ids of %s; give more characters", ui.Safe(id), ui.Count(len(found), "process"))
}
