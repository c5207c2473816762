// Package wedged tests real daemons in worlds that do not work: the disk of the
// data directory is full, fails, turns read-only or is taken away under them. It
// holds tests alone.
package wedged
