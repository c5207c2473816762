// Package crashmatrix kills the daemon, its shims and its recovery at every
// crash point, over programs of every tier and in every state, and compares
// each time what the ledger says with what is; internal/worldcheck does the
// comparing. It holds tests only.
//
// Where to look:
//
//   - matrix_linux_test.go: the matrix, tier times state times obligation times
//     crash point, and which of it is run; cell_linux_test.go plays one cell.
//   - stories_run_linux_test.go: stories that fit no cell, told up to each
//     crash point; stories_linux_test.go and stories_persistent_linux_test.go
//     tell them.
//   - check_linux_test.go: what must hold after every kill.
//   - torture_linux_test.go: a long run of random kills over one data
//     directory, from a seed. `make torture` runs it at full length.
package crashmatrix
