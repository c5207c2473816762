package segment

// Buffer is memory that reads use again and again: a scan of a million events
// would otherwise make hundreds of megabytes of garbage. The zero value is
// empty. It is for one reader at a time.
type Buffer struct {
	records []Record
	block   []byte
	size    int // bytes of all frames seen
}

// reset empties the buffer; what an earlier read returned is overwritten from
// here on.
func (b *Buffer) reset() {
	b.records, b.block, b.size = b.records[:0], b.block[:0], 0
}

// keep copies a record out of a mapping that is about to go away.
func (b *Buffer) keep(r Record) {
	start := len(b.block)
	b.block = append(b.block, r.Bytes...) // growing leaves earlier records where they are
	r.Bytes = b.block[start:len(b.block):len(b.block)]
	b.records = append(b.records, r)
}
