//go:build race

package daemontest

// Race: the tests run under the race detector. It sees nothing of the binaries
// that they start, so those that only start them run a sample.
const Race = true
