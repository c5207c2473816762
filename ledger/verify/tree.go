package verify

import (
	"bytes"
	"fmt"
)

// entry is one key of a leaf.
type entry struct {
	flags      uint32
	key, value []byte // valid until the walk goes on
}

// walk visits the tree under a root page, in the order of its pages.
type walk struct {
	*pages
	what  string // the tree's name, for faults
	visit func(entry)

	last []byte // the key visited last
	any  bool   // there was one
}

// tree visits every entry that can be reached from the root page. Damaged
// pages are reported and passed over.
func (p *pages) tree(root uint64, what string, visit func(entry)) {
	w := &walk{pages: p, what: what, visit: visit}
	w.page(root, 0, nil, nil)
}

// page visits what is under a page, whose keys are at least low, and less than
// high if that is not nil.
func (w *walk) page(id uint64, depth int, low, high []byte) {
	pg, err := w.read(id, depth)
	if err == nil && depth > maxDepth {
		err = fmt.Errorf("page %d: it lies %d deep", id, depth)
	}
	if err != nil {
		w.report("%s: %v", w.what, err)
		return
	}
	switch pg.flags {
	case flagLeaf:
		w.leaf(pg, low, high)
	case flagBranch:
		w.branch(pg, depth, high)
	default:
		w.report("%s: page %d: flags %#x, want a branch or a leaf", w.what, id, pg.flags)
	}
}

func (w *walk) leaf(pg page, low, high []byte) {
	for i := range pg.count {
		e, err := leafEntry(pg.data, i)
		if err != nil {
			w.report("%s: page %d: %v", w.what, pg.id, err)
			continue
		}
		if (low != nil && bytes.Compare(e.key, low) < 0) || (high != nil && bytes.Compare(e.key, high) >= 0) {
			w.report("%s: page %d: key %x does not belong there: a search would miss it", w.what, pg.id, e.key)
		} else if w.any && bytes.Compare(e.key, w.last) <= 0 {
			w.report("%s: page %d: key %x after key %x", w.what, pg.id, e.key, w.last)
		}
		w.last, w.any = append(w.last[:0], e.key...), true
		w.visit(e)
	}
}

func (w *walk) branch(pg page, depth int, high []byte) {
	if pg.count == 0 {
		w.report("%s: page %d: a branch without children", w.what, pg.id)
	}
	for i := range pg.count {
		key, child, err := branchEntry(pg.data, i)
		if err != nil {
			w.report("%s: page %d: %v", w.what, pg.id, err)
			continue
		}
		upTo := high
		if i+1 < pg.count {
			if next, _, err := branchEntry(pg.data, i+1); err == nil {
				upTo = next
			}
		}
		w.page(child, depth+1, key, upTo)
	}
}

// part returns size bytes of data at off, which may be any numbers.
func part(data []byte, off, size uint64) ([]byte, bool) {
	if off > uint64(len(data)) || size > uint64(len(data))-off {
		return nil, false
	}
	return data[off : off+size], true
}

// leafEntry returns the entry i of a leaf page.
func leafEntry(data []byte, i int) (e entry, err error) {
	at := uint64(pageHeader + i*elementSize)
	h, ok := part(data, at, elementSize)
	if !ok {
		return e, fmt.Errorf("entry %d lies outside of the page", i)
	}
	pos, keySize, size := uint64(le.Uint32(h[4:])), uint64(le.Uint32(h[8:])), uint64(le.Uint32(h[12:]))
	key, ok := part(data, at+pos, keySize)
	value, ok2 := part(data, at+pos+keySize, size)
	if !ok || !ok2 {
		return e, fmt.Errorf("entry %d: key or value lies outside of the page", i)
	}
	return entry{flags: le.Uint32(h), key: key, value: value}, nil
}

// branchEntry returns the entry i of a branch page.
func branchEntry(data []byte, i int) (key []byte, child uint64, err error) {
	at := uint64(pageHeader + i*elementSize)
	h, ok := part(data, at, elementSize)
	if !ok {
		return nil, 0, fmt.Errorf("entry %d lies outside of the page", i)
	}
	key, ok = part(data, at+uint64(le.Uint32(h)), uint64(le.Uint32(h[4:])))
	if !ok {
		return nil, 0, fmt.Errorf("entry %d: the key lies outside of the page", i)
	}
	return key, le.Uint64(h[8:]), nil
}

// bucket is where a bucket's entries are: under a root page, or in a page of
// their own inside the entry of the bucket.
type bucket struct {
	root   uint64
	inline []byte
}

// buckets returns the file's buckets by name.
func (p *pages) buckets() map[string]bucket {
	all := make(map[string]bucket)
	p.tree(p.root, "list of buckets", func(e entry) {
		name := string(e.key)
		switch {
		case e.flags != flagBucket:
			p.report("list of buckets: %q is none", name)
		case len(e.value) < bucketSize:
			p.report("bucket %q: %d bytes", name, len(e.value))
		default:
			b := bucket{root: le.Uint64(e.value)}
			if b.root == 0 {
				b.inline = bytes.Clone(e.value[bucketSize:])
			}
			all[name] = b
		}
	})
	return all
}

// each visits the entries of a bucket.
func (p *pages) each(b bucket, name string, visit func(entry)) {
	what := fmt.Sprintf("bucket %q", name)
	if b.root != 0 {
		p.tree(b.root, what, visit)
		return
	}
	h, ok := part(b.inline, 0, pageHeader)
	if !ok || le.Uint16(h[8:]) != flagLeaf {
		p.report("%s: its page makes no sense", what)
		return
	}
	w := &walk{pages: p, what: what, visit: visit}
	w.leaf(page{flags: flagLeaf, count: int(le.Uint16(h[10:])), data: b.inline}, nil, nil)
}

// free checks the freelist and that every page is either used or free. It is
// called after every bucket was visited.
func (p *pages) free() {
	sound := p.faults == 0
	pg, err := p.read(p.freelist, 0)
	if err == nil && pg.flags != flagFreelist {
		err = fmt.Errorf("page %d: flags %#x, want a freelist", pg.id, pg.flags)
	}
	if err != nil {
		p.report("freelist: %v", err)
		return
	}
	ids, err := freeIDs(pg)
	if err != nil {
		p.report("freelist: page %d: %v", pg.id, err)
		return
	}
	free := make([]bool, p.high)
	for len(ids) > 0 {
		id := le.Uint64(ids)
		ids = ids[8:]
		switch {
		case id < 2 || id >= p.high:
			p.report("freelist: page %d: there are pages 2 to %d", id, p.high-1)
		case p.used[id]:
			p.report("freelist: page %d is in use: a write would destroy it", id)
		case free[id]:
			p.report("freelist: page %d is in it twice", id)
		default:
			free[id] = true
		}
	}
	lost := 0
	for id := range p.used {
		if !p.used[id] && !free[id] {
			lost++
		}
	}
	if sound && lost > 0 { // after damage it is no wonder
		p.report("%d pages are neither in use nor free", lost)
	}
}

// freeIDs returns the ids in a freelist page, 8 bytes each.
func freeIDs(pg page) ([]byte, error) {
	at, count := uint64(pageHeader), uint64(pg.count)
	if count == 0xffff {
		h, ok := part(pg.data, at, 8)
		if !ok {
			return nil, fmt.Errorf("it has no count")
		}
		at, count = at+8, le.Uint64(h)
	}
	if count > uint64(len(pg.data))/8 {
		return nil, fmt.Errorf("%d free pages do not fit in it", count)
	}
	ids, ok := part(pg.data, at, count*8)
	if !ok {
		return nil, fmt.Errorf("%d free pages do not fit in it", count)
	}
	return ids, nil
}
