//go:build !linux

package main

import "time"

// bootTime is when this machine started; elsewhere than on Linux nobody asks,
// since a ledger read there is a copy from another machine.
func bootTime() time.Time { return time.Time{} }
