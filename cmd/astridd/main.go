// Command astridd is the daemon of the Astrid process ledger: it serves the
// capsules of a directory, runs the programs they ask for, and records every
// decision and every outcome before it acts or answers.
//
//	astridd --config FILE [--data DIR]
//	astridd --config FILE --check-config
//	astridd --config FILE --check
//	astridd --version
//
// Logs go to stderr. The control socket answers from the first moment; its
// status says "ready" once every process of an earlier run is accounted for
// and capsules can be invoked. TERM and INT stop it in order: what ends with
// the daemon is ended and its exit recorded; a second one hurries that. It may
// be killed at any moment: the next start settles what was left. A restart
// (astridctl daemon restart) goes on with another build in the same process.
//
// Under systemd it takes the control socket that a socket unit holds, and tells
// when it is ready, what it does, and that it lives.
//
// Exit codes: 0 stopped in order, 1 failed, 2 usage or configuration.
package main

import "os"

func main() { os.Exit(doMain(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
