//go:build race

package crashmatrix

// raceEnabled: the race detector is at work. It sees nothing of the binaries
// that these tests run, so they run a sample.
const raceEnabled = true
