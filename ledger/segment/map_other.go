//go:build !linux

package segment

// mapPopulate is nothing where the system has no such flag.
const mapPopulate = 0
