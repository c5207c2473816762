// Package bench measures what no single room can: how long a daemon takes to be
// ready, as somebody sees it who starts one. It has no code of its own; `make
// bench` runs its benchmarks with those of the rooms.
package bench
