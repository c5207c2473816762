// Package crashmatrix kills the daemon, its shims and its recovery at every
// crash point, over programs of every tier and in every state, and compares
// each time what the ledger says with what is; internal/worldcheck does the
// comparing. It holds tests only.
//
// The matrix has too many crosses to be run as a whole: it plays each cell once
// without a crash at a point, but for a SIGKILL of the daemon in the middle of its
// obligation, notes which points it comes by, and chooses from those.
package crashmatrix
