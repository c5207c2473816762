package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/astrid-os/processledger/internal/buildinfo"
)

const rootHelp = `astridctl asks the Astrid process ledger: what runs, what happened and why,
what was at any moment of the past, and whether the ledger is sound.

Where to read: with a daemon, through its control socket; without one, from the
ledger's files, also from a copy on another machine. By default the socket of
the data directory is used if a daemon answers there, and the files otherwise.

  --data DIR      a daemon's data directory (ASTRID_DATA, else ` + defaultData + `)
  --ledger DIR    a ledger, or a copy of one: the directory that holds segments/
  --socket PATH   a daemon's control socket (ASTRID_SOCKET)

Times are written as RFC 3339, "2026-01-02 15:04", 15:04, 42m, 2 days ago,
yesterday, today, @unix or boot. Ids may be shortened to a unique beginning.

`

// newRoot builds the tree of verbs.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "astridctl",
		Short: "Ask the Astrid process ledger",
		Long:  rootHelp + exitCodesHelp,
		Example: `  astridctl demo                                  see all of it work
  astridctl ps                                    what runs now
  astridctl log -S today --outcome refused        today's refusals
  astridctl show 01KKNT                           one process's whole story
  astridctl why 01KKNT                            why it was allowed or refused
  astridctl replay --at '2 hours ago'             what was then
  astridctl verify --ledger ./copy                is it sound?`,
		SilenceErrors: true, SilenceUsage: true,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownVerb(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usagef("%v", err) })
	f := root.PersistentFlags()
	f.StringVar(&a.dataDir, "data", "", "the daemon's data `DIR`ectory")
	f.StringVar(&a.ledgerDir, "ledger", "", "read the ledger in `DIR`, never a daemon")
	f.StringVar(&a.socket, "socket", "", "ask the daemon at the control socket `PATH`")
	f.BoolVar(&a.utc, "utc", false, "show times in UTC, and read times without a zone as UTC")
	root.AddCommand(newPs(a), newLog(a), newShow(a), newWhy(a), newReplay(a), newStatus(a), newInvoke(a), newRun(a), newCancel(a), newStop(a), newLogs(a), newBus(a),
		newDaemon(a), newVerify(a), newVerifyChild(a), newLedger(a), newDemo(a), newVersion(a))
	return root
}

func unknownVerb(cmd *cobra.Command, verb string) error {
	if near := cmd.SuggestionsFor(verb); len(near) > 0 {
		return usagef("there is no verb %q; did you mean %q?", verb, near[0])
	}
	return usagef("there is no verb %q", verb)
}

// noArgs and oneArg are cobra's checks with our exit code.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no argument, got %q", cmd.Name(), args[0])
	}
	return nil
}

func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef("%s takes one %s, got %d arguments", cmd.Name(), what, len(args))
		}
		return nil
	}
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version of this program", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(a.stdout, "astridctl "+buildinfo.Version())
			return err
		},
	}
}
