package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/astrid-os/processledger/internal/query"
	"github.com/astrid-os/processledger/internal/report"
	"github.com/astrid-os/processledger/internal/ui"
)

// app is one run of astridctl: its streams, its flags and what it looks like.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	now            func() time.Time

	dataDir   string
	ledgerDir string
	socket    string
	utc       bool
}

// doMain runs astridctl with args, without the program's name, and returns its
// exit code. SIGINT, SIGTERM and SIGHUP end it in order.
func doMain(args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, getenv: os.Getenv, now: time.Now}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	defer a.recoverDamage(&code, debug.SetPanicOnFault(true))
	cmd := newRoot(a)
	cmd.SetArgs(joinJSON(args))
	err := cmd.ExecuteContext(ctx)
	if err != nil && ctx.Err() != nil {
		err = errInterrupted
	}
	var silent silentError
	if err != nil && !errors.As(err, &silent) {
		ui.PrintError(stderr, a.errPalette(), "astridctl", withHint(err))
	}
	return exitCode(err)
}

// recoverDamage turns a fault on a ledger's mapped pages, which a damaged or
// truncated file causes, into an error. It works for the goroutine that reads,
// which is the one that runs the verb; verify goes further and reads in a
// child process.
func (a *app) recoverDamage(code *int, before bool) {
	r := recover()
	debug.SetPanicOnFault(before)
	if r == nil {
		return
	}
	if _, fault := r.(interface{ Addr() uintptr }); !fault {
		panic(r)
	}
	err := ui.Hint(errors.New("the ledger is damaged: a page that it refers to is not there"), "find all faults with: astridctl verify")
	ui.PrintError(a.stderr, a.errPalette(), "astridctl", err)
	*code = exitCorrupt
}

// palette is for standard output, errPalette for standard error.
func (a *app) palette() ui.Palette    { return ui.NewPalette(a.stdout, a.getenv) }
func (a *app) errPalette() ui.Palette { return ui.NewPalette(a.stderr, a.getenv) }

// look is how reports are shown on standard output.
func (a *app) look() report.Look { return report.Look{Palette: a.palette(), Zone: a.zone()} }

func (a *app) zone() *time.Location { return ui.Zone(a.utc) }

// moment is what relative times refer to.
func (a *app) moment() query.Now {
	return query.Now{Time: a.now().In(a.zone()), Boot: bootTime()}
}

// parseTime reads a time as people write it; a bad one is a usage error.
func (a *app) parseTime(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := query.ParseTime(s, a.moment())
	if err != nil {
		return t, usagef("%s: %v", flag, err)
	}
	return t, nil
}

// note tells the person at the terminal something beside the answer.
func (a *app) note(format string, args ...any) {
	fmt.Fprintln(a.stderr, ui.Safe(fmt.Sprintf(format, args...)))
}
