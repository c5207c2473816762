// Package faults tests real daemons in worlds that do not work: the disk of the
// data directory is full, fails, turns read-only or is taken away under them; the
// ledger is damaged; shims do not answer and programs cannot be killed; clocks
// jump; more processes live than usual. It holds tests alone.
//
// In each of these worlds the same is asked: nothing new starts without a clear
// refusal, what runs can be listed and ended, no call hangs, and in the end the
// ledger tells what happened.
package faults
