//go:build !unix

package main

// handBack does nothing: files belong to nobody here.
func handBack(string, ...string) error { return nil }
