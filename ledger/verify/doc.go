// Package verify finds every fault in a ledger's files, not only the first.
//
// It reads the files by itself, page by page, and neither maps them nor opens
// them with bbolt: a page that points outside of the file, or back to itself,
// is a fault to report and not the end of the process, and what lies behind it
// is still read where another way leads there. bbolt and this package so are
// two readers of one format. Callers still run [Dir] in a process of its own
// and read its findings with [ReadReport], since a state that makes no sense is
// handed to the caller's fold.
//
// # What is checked
//
//   - the file: meta pages, each page's header and place, the order of keys in
//     the tree, pages used twice, lost, or used and free (page)
//   - meta: the layout, the ledger's id, the ordinal, the name, the seal (meta)
//   - each record: its checksum (record), its decoding (decode), that it is the
//     event its place says, that ids grow (order), that it points back to the
//     event before it of the same handle (link)
//   - seq: nothing is missing within and between segments (gap)
//   - evidence: the hash of each sealed file and of each opening state against
//     the segment.opened events (hash)
//   - replay: each event is a legal step (transition), and each opening state
//     is what the events before it give (state)
//
// # What is not
//
// Events that are missing at the end of the newest segment leave no trace in
// the files, and whoever can write the files can make sound ones with other
// events in them. Bytes of the newest segment that no page uses are not looked
// at; of a sealed one every byte is under the hash in its successor.
//
// After damage, or an illegal step, the fold cannot go on: what follows up to
// the next segment's opening state is read but not replayed, and the report
// says so.
package verify
