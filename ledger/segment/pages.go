package segment

import (
	"encoding/binary"
	"fmt"
	"io"

	bolt "go.etcd.io/bbolt"
)

// bbolt's pages, as far as they lead from one to the next: the header has the
// page's id, its kind, and how many elements follow; an element of a branch ends
// with the id of the page below. All in the byte order of the machine.
const (
	pageHeader    = 16
	branchElement = 16
	branchFlag    = 0x01
)

// loops returns an error if a page of the file leads back to one that it was
// reached by. bbolt follows such a page for ever and takes more memory with each
// step, which nothing can catch. Any other damage is left to be found by whoever
// reads the page: what does not lead there stays readable.
//
// Only branches are read, one page in some hundred, and of a level of leaves the
// first: in a tree that bbolt wrote all pages of a level are of one kind.
func (s *Segment) loops() error {
	return s.view(0, func(tx *bolt.Tx) error {
		w := &pageWalk{file: s.file, size: int64(s.db.Info().PageSize), seen: map[uint64]bool{}}
		err := w.tree(uint64(tx.Cursor().Bucket().Root()))
		if err == nil {
			err = tx.ForEach(func(_ []byte, b *bolt.Bucket) error {
				return w.tree(uint64(b.Root())) // 0: it is inside of its parent's page
			})
		}
		if err != nil {
			return &CorruptError{Path: s.path, Err: err}
		}
		return nil
	})
}

// pageWalk is a walk over the branches of one file.
type pageWalk struct {
	file io.ReaderAt
	size int64           // of a page, bytes
	seen map[uint64]bool // the branches that were met
}

// tree visits the branches of one tree, level by level.
func (w *pageWalk) tree(root uint64) error {
	for level := []uint64{root}; len(level) > 0; {
		var below []uint64
		for _, id := range level {
			children := w.children(id)
			if len(children) == 0 {
				continue
			}
			if w.seen[id] {
				return loopAt(id)
			}
			w.seen[id] = true
			below = append(below, children...)
		}
		for _, id := range below {
			if w.seen[id] {
				return loopAt(id)
			}
		}
		if len(below) == 0 || w.children(below[0]) == nil {
			return nil
		}
		level = below
	}
	return nil
}

func loopAt(id uint64) error {
	return fmt.Errorf("%w: page %d leads back to itself, or is led to twice", errPage, id)
}

// children returns the pages below a branch, nil for anything else.
func (w *pageWalk) children(id uint64) []uint64 {
	var head [pageHeader]byte
	at := int64(id) * w.size
	if id == 0 || at/w.size != int64(id) {
		return nil
	}
	if _, err := w.file.ReadAt(head[:], at); err != nil || binary.NativeEndian.Uint16(head[8:])&branchFlag == 0 {
		return nil
	}
	b := make([]byte, int(binary.NativeEndian.Uint16(head[10:]))*branchElement)
	if _, err := w.file.ReadAt(b, at+pageHeader); err != nil {
		return nil
	}
	below := make([]uint64, len(b)/branchElement)
	for i := range below {
		below[i] = binary.NativeEndian.Uint64(b[i*branchElement+8:])
	}
	return below
}
