//go:build !crashpoints

package ledger

// wallOffset is by how much a test has the wall clock be wrong: not at all in
// this build.
func wallOffset() int64 { return 0 }
