//go:build !race

package wedged

// raceEnabled tells that the race detector is on.
const raceEnabled = false
