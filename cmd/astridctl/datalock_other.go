//go:build !unix

package main

import "io"

// lockData does nothing: no daemon runs on this system.
func lockData(string) (io.Closer, error) { return io.NopCloser(nil), nil }
