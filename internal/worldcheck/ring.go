//go:build linux

package worldcheck

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// The layout of a ring file, as the shim's documentation gives it: the header's
// words, and the bytes of the stream in a circle behind it.
const (
	ringHeader = 4096
	ringMagic  = 0x31474e4952545341

	wordRing, wordCapacity, wordPolicy = 8, 16, 24
	wordTotal, wordGuard, wordDropped  = 64, 128, 192
	policyPressure                     = 2
	ringStdout, ringStderr             = "stdout.ring", "stderr.ring"
)

// ring is what one ring file holds.
type ring struct {
	total   uint64 // bytes of the stream
	dropped uint64
	from    uint64 // number of the first byte of kept
	kept    []byte
}

// readRing reads a ring; nil if there is none. The program may go on writing
// meanwhile: what it has overwritten is left out.
func readRing(dir, name string) (*ring, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, ringHeader)
	if _, err := f.ReadAt(head, 0); err != nil {
		return nil, err
	}
	word := func(at int) uint64 { return binary.NativeEndian.Uint64(head[at:]) }
	capacity, window := word(wordCapacity), word(wordRing)
	if word(0) != ringMagic || window == 0 || window > capacity || capacity > 64<<20 {
		return nil, fmt.Errorf("%s is no ring", name)
	}
	if word(wordPolicy) == policyPressure {
		window = capacity
	}
	r := &ring{total: word(wordTotal), dropped: word(wordDropped)}
	r.from = r.total - min(r.total, window)
	circle := make([]byte, capacity)
	if _, err := f.ReadAt(circle, ringHeader); err != nil {
		return nil, err
	}
	for p := r.from; p < r.total; {
		at := p % capacity
		n := min(capacity-at, r.total-p)
		r.kept, p = append(r.kept, circle[at:at+n]...), p+n
	}
	if _, err := f.ReadAt(head, 0); err != nil {
		return nil, err
	}
	if guard := word(wordGuard); guard > r.from {
		cut := min(guard-r.from, uint64(len(r.kept)))
		r.kept, r.from = r.kept[cut:], r.from+cut
	}
	return r, nil
}
