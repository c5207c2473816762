package verify

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// A bbolt file, version 2, as far as a reader needs it. Numbers are of the
// machine's byte order, which is little endian on all that run this program.
//
//	page      16 bytes  id u64, flags u16, count u16, overflow u32 (pages that follow and belong to it)
//	meta      pages 0 and 1, written in turn: the one with the higher txid counts
//	          after the header: magic u32, version u32, page size u32, flags u32,
//	          root page u64, sequence u64, freelist page u64, high-water mark u64, txid u64,
//	          FNV-1a of what is before u64
//	branch    elements of 16 bytes: pos u32, key size u32, page u64; pos counts from the element
//	leaf      elements of 16 bytes: flags u32, pos u32, key size u32, value size u32
//	bucket    a leaf element with flag 1: root page u64, sequence u64; root 0: the bucket's page follows
//	freelist  page ids u64; with count 0xffff the first is their number
const (
	pageHeader  = 16
	elementSize = 16
	bucketSize  = 16
	metaSize    = 64
	metaMagic   = 0xED0CDAED
	metaVersion = 2

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagMeta     = 0x04
	flagFreelist = 0x10

	flagBucket = 0x01 // of a leaf's element

	maxDepth = 64 // of a tree of 2^64 pages
)

var le = binary.LittleEndian

// pages reads the pages of one file. It trusts nothing in it.
type pages struct {
	r     io.ReaderAt
	size  int64
	fault func(detail string) // called with each fault of the structure

	pageSize uint64
	root     uint64
	freelist uint64
	high     uint64 // no page from here on is in use

	used   []bool   // by page: the tree, or the freelist itself
	faults int      // how often fault was called
	bufs   [][]byte // one a depth, used again
}

// page is one page with those that belong to it.
type page struct {
	id    uint64
	flags uint16
	count int
	data  []byte // with its header; valid until the next read at the same depth
}

func (p *pages) report(format string, args ...any) {
	p.faults++
	p.fault(fmt.Sprintf(format, args...))
}

// openPages reads the meta pages. An error means that nothing else can be
// read.
func openPages(r io.ReaderAt, size int64, fault func(string)) (*pages, error) {
	p := &pages{r: r, size: size, fault: fault}
	m0, err0 := p.meta(0, 0)
	sizes := []uint64{m0.pageSize}
	if err0 != nil {
		sizes = sizes[:0]
		for s := uint64(512); s <= 1<<16; s <<= 1 {
			sizes = append(sizes, s)
		}
	}
	var m1 meta
	err1 := errors.New("not found")
	for _, s := range sizes {
		if m1, err1 = p.meta(int64(s), s); err1 == nil {
			break
		}
	}
	m := m0
	switch {
	case err0 != nil && err1 != nil:
		return nil, fmt.Errorf("neither meta page is valid (%w; %w): not a segment, or its head is damaged", err0, err1)
	case err0 != nil:
		p.report("meta page 0: %v: the last commit may be missing", err0)
		m = m1
	case err1 != nil:
		p.report("meta page 1: %v: the last commit may be missing", err1)
	case m1.txid > m0.txid:
		m = m1
	}
	return p, p.adopt(m)
}

// meta is what a meta page holds.
type meta struct{ pageSize, root, freelist, high, txid uint64 }

// meta reads the meta page at off. pageSize 0 means that it is not known yet.
func (p *pages) meta(off int64, pageSize uint64) (m meta, err error) {
	b := make([]byte, pageHeader+metaSize)
	if _, err := p.r.ReadAt(b, off); err != nil {
		return m, readError(err)
	}
	c := b[pageHeader:]
	sum := fnv.New64a()
	sum.Write(c[:metaSize-8])
	switch {
	case le.Uint32(c) != metaMagic:
		return m, errors.New("it does not begin as one")
	case le.Uint32(c[4:]) != metaVersion:
		return m, fmt.Errorf("version %d of bbolt's format, want %d", le.Uint32(c[4:]), metaVersion)
	case le.Uint64(c[metaSize-8:]) != sum.Sum64():
		return m, errors.New("its checksum does not fit")
	case le.Uint16(b[8:]) != flagMeta:
		return m, fmt.Errorf("flags %#x", le.Uint16(b[8:]))
	}
	m = meta{pageSize: uint64(le.Uint32(c[8:])), root: le.Uint64(c[16:]), freelist: le.Uint64(c[32:]), high: le.Uint64(c[40:]), txid: le.Uint64(c[48:])}
	if m.pageSize < 512 || m.pageSize > 1<<16 || m.pageSize&(m.pageSize-1) != 0 || pageSize != 0 && m.pageSize != pageSize {
		return m, fmt.Errorf("page size %d", m.pageSize)
	}
	if id := le.Uint64(b); id != uint64(off)/m.pageSize {
		return m, fmt.Errorf("it says that it is page %d", id)
	}
	return m, nil
}

// readError says in words that a file ends too early.
func readError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the file ends before it")
	}
	return err
}

// adopt goes on by the meta page that counts.
func (p *pages) adopt(m meta) error {
	p.pageSize, p.root, p.freelist, p.high = m.pageSize, m.root, m.freelist, m.high
	if there := uint64(p.size) / p.pageSize; p.high > there {
		p.report("the file ends after page %d, pages up to %d are in use", there, p.high)
		p.high = there
	}
	if p.high < 2 {
		return errors.New("the file ends after its meta pages")
	}
	p.used = make([]bool, p.high)
	p.used[0], p.used[1] = true, true
	return nil
}

// read reads a page that the tree refers to, once: a page that was read before
// is an error. The buffer of the depth is used for it.
func (p *pages) read(id uint64, depth int) (page, error) {
	if id < 2 || id >= p.high {
		return page{}, fmt.Errorf("page %d: there are pages 2 to %d", id, p.high-1)
	}
	var head [pageHeader]byte
	if _, err := p.r.ReadAt(head[:], int64(id*p.pageSize)); err != nil {
		return page{}, fmt.Errorf("page %d: %w", id, readError(err))
	}
	pg := page{id: id, flags: le.Uint16(head[8:]), count: int(le.Uint16(head[10:]))}
	if got := le.Uint64(head[:]); got != id {
		return pg, fmt.Errorf("page %d: it says that it is page %d", id, got)
	}
	more := uint64(le.Uint32(head[12:]))
	if id+more >= p.high {
		return pg, fmt.Errorf("page %d: it takes %d more pages, there are only %d", id, more, p.high-1-id)
	}
	for i := id; i <= id+more; i++ {
		if p.used[i] {
			return pg, fmt.Errorf("page %d: it is in use twice", i)
		}
		p.used[i] = true
	}
	pg.data = p.buffer(depth, (more+1)*p.pageSize)
	if _, err := p.r.ReadAt(pg.data, int64(id*p.pageSize)); err != nil {
		return pg, fmt.Errorf("page %d: %w", id, readError(err))
	}
	return pg, nil
}

// buffer returns the memory for pages of a depth of the tree.
func (p *pages) buffer(depth int, size uint64) []byte {
	for len(p.bufs) <= depth {
		p.bufs = append(p.bufs, nil)
	}
	if uint64(cap(p.bufs[depth])) < size {
		p.bufs[depth] = make([]byte, size)
	}
	return p.bufs[depth][:size]
}
