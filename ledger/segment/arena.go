package segment

// arenaBlock is the least that is allocated at once for the bytes of records.
const arenaBlock = 64 << 10

// pages copies records out of a mapping that is about to go away. Many records
// share one allocation; none of it is used twice, so a caller may keep what it
// got.
type pages struct {
	records []Record
	size    int // bytes of all frames seen
	block   []byte
}

func (p *pages) keep(r Record) {
	n := len(r.Bytes)
	if cap(p.block)-len(p.block) < n {
		p.block = make([]byte, 0, max(arenaBlock, n))
	}
	start := len(p.block)
	p.block = append(p.block, r.Bytes...)
	r.Bytes = p.block[start : start+n : start+n]
	p.records = append(p.records, r)
}
