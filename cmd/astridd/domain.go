package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/astrid-os/processledger/cmd/astridd/internal/config"
	"github.com/astrid-os/processledger/internal/buildinfo"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageText is the help.
const usageText = `astridd is the daemon of the Astrid process ledger.

usage: astridd --config FILE [--data DIR]

  --config FILE    the configuration; see astridd.example.toml for every key
  --data DIR       the data directory, in place of the configuration's
  --check-config   check the configuration and leave
  --check          check as a restart does whether this build can take over: the
                   configuration, the shim, and whether it understands the data
                   directory, of which nothing is changed; a line of JSON
  --version        print the version and leave

`

// flags are the command line.
type flags struct {
	config, data         string
	check, fits, version bool
	try                  string // a ledger's directory: see daemon.TryLedger
}

// doMain is the program: it returns the exit code.
func doMain(args []string, _ io.Reader, stdout, stderr io.Writer) int {
	f, err := parseFlags(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usageText)
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "astridd: %v\n\n%s", err, usageText)
		return exitUsage
	case f.try != "":
		tryLedger(f.try)
		return exitOK
	case f.version:
		fmt.Fprintf(stdout, "astridd %s\n", buildinfo.Version())
		return exitOK
	}
	cfg, err := f.load()
	if err != nil {
		fmt.Fprintf(stderr, "astridd: the configuration is wrong:\n%v\n", err)
		return exitUsage
	}
	if f.check {
		fmt.Fprintf(stdout, "configuration ok: data directory %s, socket %s, capsules in %s, isolation %s\n",
			cfg.Data, cfg.Socket, cfg.Capsules, cfg.Isolation)
		return exitOK
	}
	do := func() error { return run(cfg, stderr) }
	if f.fits {
		do = func() error { return checkFitness(cfg, stdout) }
	}
	if err := do(); err != nil {
		fmt.Fprintf(stderr, "astridd: %v\n", err)
		return exitFailed
	}
	return exitOK
}

func parseFlags(args []string) (*flags, error) {
	f := new(flags)
	fs := flag.NewFlagSet("astridd", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&f.config, "config", "", "")
	fs.StringVar(&f.data, "data", "", "")
	fs.BoolVar(&f.check, "check-config", false, "")
	fs.BoolVar(&f.fits, "check", false, "")
	fs.BoolVar(&f.version, "version", false, "")
	fs.StringVar(&f.try, tryFlag, "", "")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("argument %q is not understood", fs.Arg(0))
	}
	return f, nil
}

// load reads the configuration that the flags name.
func (f *flags) load() (*config.Config, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("own executable, beside which the shim is looked for: %w", err)
	}
	return config.Load(f.config, f.data, exe)
}
