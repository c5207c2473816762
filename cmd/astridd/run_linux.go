package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/astrid-os/processledger/cmd/astridd/internal/config"
	"github.com/astrid-os/processledger/cmd/astridd/internal/daemon"
	"github.com/astrid-os/processledger/internal/buildinfo"
)

// run runs the daemon until a signal stops it.
func run(cfg *config.Config, stderr io.Writer) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	// Whoever reads the log may go away; the daemon stays. Go turns EPIPE on
	// stderr into SIGPIPE unless it is asked for.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return daemon.Run(daemon.Options{
		Config: cfg, Version: buildinfo.Version(), Log: logger(cfg.Log, stderr),
		Signals: signals, Release: func() { signal.Stop(signals) },
	})
}

// tryFlag is the option by which a daemon starts itself to read a ledger.
const tryFlag = daemon.FlagTryLedger

func tryLedger(dir string) { daemon.TryLedger(dir) }

// checkFitness tells in a line of JSON what this build is fit for.
func checkFitness(cfg *config.Config, stdout io.Writer) error {
	f, err := daemon.Check(context.Background(), cfg, buildinfo.Version())
	if err != nil {
		return err
	}
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	_, err = stdout.Write(append(b, '\n'))
	return err
}

// logger makes the log that the configuration asks for.
func logger(c config.Log, w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.Level}
	if c.JSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
