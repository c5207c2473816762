//go:build !race

package crashmatrix

const raceEnabled = false
