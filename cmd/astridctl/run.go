package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/ui"
)

// The exit codes of run beside those of the program.
const (
	exitRunFailed   = 125 // of ours
	exitNoCommand   = 126 // the module cannot be run
	exitNoModule    = 127 // there is no such file
	exitRunTrapped  = 134 // the module trapped: 128 + ABRT, as an abort gives
	mostProgramCode = 255
)

func newRun(a *app) *cobra.Command {
	r := &control.RunRequest{}
	cmd := &cobra.Command{
		Use: "run --principal P MODULE [ARG…]", Short: "Run a WASI program in the daemon",
		Long: `Run a WASI program (preview 1, a module with _start) in the daemon's sandbox and
pass its streams and its exit code on. It gets its arguments, its standard
streams, clocks and random numbers, and no files and no network. Of this machine's
programs it may run those that --allow names, under the same quotas and with the
same record as a capsule.

The exit code is the program's; 125 if it could not be told or the daemon failed,
126 if MODULE is no such program, 127 if there is no such file, 134 if it trapped,
130 if it was interrupted. Flags after MODULE are the program's.`,
		Example: "  astridctl run --principal alice hello.wasm world <in >out",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return runFailed(exitRunFailed, errors.New("run needs a module"))
			}
			r.Args = args[1:]
			return a.run(cmd.Context(), args[0], r)
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.StringVar(&r.Principal, "principal", "", "on behalf of `NAME`")
	f.StringVar(&r.Name, "name", "", "`NAME` of the program for the record, instead of its file's")
	f.StringArrayVar(&r.HostProcess, "allow", nil, "it may run the `COMMAND` of this machine; may be repeated")
	f.BoolVar(&r.AllowPersistent, "allow-persistent", false, "it may start processes that outlive it")
	f.StringVar(&r.CallID, "call-id", "", "`ID` of the call, by which it can be cancelled")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return runFailed(exitRunFailed, err) })
	return cmd
}

// runFailed is an error of run with an exit code that no program is taken for.
func runFailed(code int, err error) error { return &codedError{code, err} }

func (a *app) run(ctx context.Context, path string, r *control.RunRequest) error {
	if r.Principal == "" {
		return runFailed(exitRunFailed, errors.New("run needs --principal"))
	}
	module, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return runFailed(exitNoModule, err)
	case err != nil:
		return runFailed(exitNoCommand, err)
	case len(module) > control.MaxRunModule:
		return runFailed(exitNoCommand, fmt.Errorf("%s has %s; at most %s can be run", path, ui.Bytes(uint64(len(module))), ui.Bytes(control.MaxRunModule)))
	}
	r.Name = cmp.Or(r.Name, filepath.Base(path))
	c, err := a.client()
	if err != nil {
		return runFailed(exitRunFailed, err)
	}
	defer c.Close()
	code, err := a.runModule(ctx, c, r, module)
	switch {
	case err != nil && ctx.Err() != nil:
		return err // interrupted: 130
	case err != nil:
		return runFailed(runCode(err), err)
	case code > mostProgramCode:
		return runFailed(exitRunFailed, fmt.Errorf("the program left with %d, which no shell can tell", code))
	case code != 0:
		return silentError{int(code)}
	}
	return nil
}

func (a *app) runModule(ctx context.Context, c *control.Client, r *control.RunRequest, module []byte) (uint32, error) {
	lines, err := c.Run(ctx, r, module, a.stdin)
	if err != nil {
		return 0, err
	}
	defer lines.Close()
	return control.FinishRun(lines, a.stdout, a.stderr)
}

// runCode is the exit code for an error of the daemon.
func runCode(err error) int {
	var refused *control.Error
	if errors.As(err, &refused) {
		switch refused.Code {
		case control.CodeTrap:
			return exitRunTrapped
		case control.CodeNotRunnable:
			return exitNoCommand
		}
	}
	return exitRunFailed
}
