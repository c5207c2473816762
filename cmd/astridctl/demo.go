package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/astrid-os/processledger/internal/demo"
)

func newDemo(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "demo", Short: "Show all of it at work, from source, in a minute", Args: noArgs,
		Long: `Build the daemon and a capsule from source, run programs for two principals, kill
the daemon under them, start it again, and show that the ledger answers for all
of it. Needs Go and Linux, and nothing else; works in a temporary directory that
is removed in the end, also when interrupted.

Its last line is "demo: ok: N events, M processes, 0 lost", and then the exit
code is 0.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return err
			}
			return demo.Run(cmd.Context(), demo.Options{Self: self, Out: a.stdout, Err: a.stderr, Palette: a.palette()})
		},
	}
}
