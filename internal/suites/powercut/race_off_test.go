//go:build !race

package powercut

const underRace = false
