package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/ui"
)

func newCancel(a *app) *cobra.Command {
	r := &control.CancelRequest{}
	var everything bool
	var j *jsonFlag
	cmd := &cobra.Command{
		Use: "cancel --principal P --call-id ID", Short: "End the processes of a call", Args: noArgs,
		Long: `End the processes that a call started: INT to each and all its descendants, and
KILL two seconds later to what is still there. Processes of the same principal
and capsule that belong to no call are reached too. With --all-calls every
process of the principal is killed at once.

The verb returns once the cancel is recorded, not when the processes are gone;
watch them with astridctl ps. Exit code 3 if nothing was reached.`,
		Example: "  astridctl cancel --principal alice --call-id call-7 --reason 'wrong branch'",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.cancel(cmd.Context(), r, everything, j) },
	}
	f := cmd.Flags()
	f.StringVar(&r.Principal, "principal", "", "whose processes: `NAME`")
	f.StringVar(&r.Capsule, "capsule", "", "only those of the capsule `NAME`")
	f.StringArrayVar(&r.CallIDs, "call-id", nil, "the call's `ID`; may be repeated")
	f.StringVar(&r.Reason, "reason", "", "a `TEXT` for the record")
	f.BoolVar(&everything, "all-calls", false, "every process of the principal, by KILL at once")
	j = addJSON(cmd, cancelFields)
	return cmd
}

// cancelFields are the fields of control.CancelAnswer's JSON.
var cancelFields = []string{"cancel", "handles", "unrecorded", "waiting"}

func (a *app) cancel(ctx context.Context, r *control.CancelRequest, everything bool, j *jsonFlag) error {
	switch {
	case r.Principal == "":
		return usagef("cancel needs --principal")
	case len(r.CallIDs) == 0 && !everything:
		return ui.Hint(usagef("cancel needs --call-id"), "to end every call of the principal, say --all-calls")
	case len(r.CallIDs) > 0 && everything:
		return usagef("--call-id and --all-calls do not go together")
	}
	if err := j.check(); err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	answer, err := c.Cancel(ctx, r)
	if err != nil {
		return err
	}
	if j.on() {
		if err := j.write(a.stdout, answer); err != nil {
			return err
		}
	} else {
		for _, id := range answer.Handles {
			fmt.Fprintln(a.stdout, id)
		}
		a.note("cancel %s reaches %s%s", answer.Cancel, ui.Count(len(answer.Handles), "process"), cancelExtra(answer))
	}
	if len(answer.Handles) == 0 && answer.Waiting == 0 {
		return silentError{exitNothing}
	}
	return nil
}

// cancelExtra says what else a cancel did.
func cancelExtra(answer *control.CancelAnswer) string {
	s := ""
	if answer.Waiting > 0 {
		s += fmt.Sprintf(" and sends away %s that had not begun", ui.Count(answer.Waiting, "call"))
	}
	if answer.Unrecorded {
		s += "; the ledger cannot record it yet"
	}
	return s
}
