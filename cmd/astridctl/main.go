// Command astridctl asks the ledger of the Astrid process ledger, and the
// daemon that writes it: what runs, what happened and why, what was at any
// moment of the past, and whether the ledger is sound.
//
// It reads a ledger's files where no daemon runs, also copies on other
// machines, and asks the daemon where one does. One verb stands in one file.
// Standard output holds the answer and nothing else.
package main

import "os"

func main() { os.Exit(doMain(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
