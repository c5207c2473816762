// Package wedged holds that the daemon behaves as documented in a world that
// does not: a damaged ledger, shims that do not answer, programs that cannot be
// killed, clocks that jump, and more processes than usual. It drives real daemons
// and holds tests only.
//
// In each of these worlds the same is asked: nothing new starts without a clear
// refusal, what runs can be listed and ended, no call hangs, and in the end the
// ledger tells what happened.
package wedged
