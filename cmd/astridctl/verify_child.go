package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/verify"
	"github.com/astrid-os/processledger/projector"
)

// childVerb is the hidden verb that verify runs in a process of its own: a
// damaged file may end that process, and then its parent says so.
const childVerb = "verify-child"

func newVerifyChild(a *app) *cobra.Command {
	return &cobra.Command{
		Use: childVerb + " DIR NEWEST", Short: "Verify a ledger and write the findings as JSON lines", Hidden: true, Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return a.verifyChild(cmd.Context(), args[0], args[1]) },
	}
}

func (a *app) verifyChild(ctx context.Context, dir, newest string) error {
	_, err := verify.Dir(ctx, dir, verify.Options{
		NewState: func() verify.State { return &verifyState{projector.New()} },
		Newest:   newest, Out: a.stdout,
	})
	return err
}

// verifyState is the projection that is replayed.
type verifyState struct{ s *projector.State }

// Restore implements verify.State.
func (v *verifyState) Restore(opening []byte) error {
	if opening == nil {
		v.s = projector.New()
		return nil
	}
	s, err := projector.Decode(opening)
	if err == nil {
		v.s = s
	}
	return err
}

// Apply implements verify.State.
func (v *verifyState) Apply(e *event.Event) error { return v.s.Apply(e) }

// Encode implements verify.State.
func (v *verifyState) Encode() []byte { return v.s.Encode() }
