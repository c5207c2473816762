//go:build !race

package faults

// raceEnabled tells that the race detector is on.
const raceEnabled = false
