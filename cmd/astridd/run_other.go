//go:build !linux

package main

import (
	"errors"
	"io"
	"runtime"

	"github.com/astrid-os/processledger/cmd/astridd/internal/config"
)

// run says what the daemon needs.
func run(*config.Config, io.Writer) error { return errOther() }

// checkFitness does too.
func checkFitness(*config.Config, io.Writer) error { return errOther() }

func errOther() error {
	return errors.New("this daemon needs Linux 5.6 or newer (namespaces, pidfd, /proc), and this is " + runtime.GOOS +
		"; copies of a ledger can be read, replayed and verified here with astridctl")
}

// tryFlag and tryLedger have a meaning on Linux only.
const tryFlag = "try-ledger"

func tryLedger(string) {}
