//go:build race

package powercut

// underRace has the sweeps look at a sample: nearly all that they do is done by
// other processes or is one loop over bytes, and the race detector makes that
// ten times slower.
const underRace = true
