// Package backup copies a ledger to another directory, and puts such a copy
// back.
//
// A copy is a directory:
//
//	manifest.json                   what it holds, with the SHA-256 of each file; written last
//	ledger/segments/….seg           the segments
//	keys/…                          the keys of the data directory, 0600
//	layout                          the layout of the data directory
//
// It is a data directory without processes: astridctl --data reads it as it is.
//
// The keys belong to it. Without process-ids no capsule finds its persistent
// processes again after a restore, and without redaction the digests in the
// ledger cannot be compared any more. Whoever has the copy has the keys: keep it
// as safe as the data directory.
//
// A copy has its manifest when everything in it is on disk and was read back. A
// crash before that leaves a directory without one, which is no copy.
package backup
