// Package crashmatrix kills the daemon, its shims and its recovery at every
// crash point, over programs of every tier and in every state, and compares
// each time what the ledger says with what is; internal/worldcheck does the
// comparing. It holds tests only.
//
// Its files, by their names before _linux_test:
//
//   - matrix: the matrix, tier times state times obligation times crash point,
//     and which of it is run; cell plays one cell.
//   - stories_run: stories that fit no cell, told up to each crash point;
//     stories and stories_persistent tell them.
//   - check: what must hold after every kill.
//   - torture: a long run of random kills over one data directory, from a seed.
//     `make torture` runs it at full length.
package crashmatrix
