package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// frameHeader is the bytes of a frame before the event: checksum and prev.
const frameHeader = 4 + 8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errShortFrame = errors.New("the record is shorter than its own header")
	errChecksum   = errors.New("the record's checksum does not fit its bytes")
)

// Record is one event as it is stored.
type Record struct {
	Seq   uint64
	Prev  uint64 // seq of the previous event of the same handle, 0: none
	Bytes []byte // the encoded event
}

// checksum returns the CRC of a frame that is stored under seq.
func checksum(seq uint64, frame []byte) uint32 {
	key := seqKey(seq)
	return crc32.Update(crc32.Checksum(key[:], castagnoli), castagnoli, frame[4:])
}

// closeFrame fills in the header of a frame whose event bytes are in place.
func closeFrame(seq, prev uint64, frame []byte) {
	binary.LittleEndian.PutUint64(frame[4:], prev)
	binary.LittleEndian.PutUint32(frame, checksum(seq, frame))
}

// OpenFrame checks the frame stored under seq. The record's bytes are part of
// frame, not a copy.
func OpenFrame(seq uint64, frame []byte) (Record, error) {
	if len(frame) < frameHeader {
		return Record{}, errShortFrame
	}
	if binary.LittleEndian.Uint32(frame) != checksum(seq, frame) {
		return Record{}, errChecksum
	}
	return Record{
		Seq:   seq,
		Prev:  binary.LittleEndian.Uint64(frame[4:]),
		Bytes: frame[frameHeader:],
	}, nil
}

// Batch collects records that will be appended together. The zero value is
// empty; [Batch.Reset] says where it starts.
type Batch struct {
	first uint64
	buf   []byte // the frames, one after another
	ends  []int  // where each frame ends in buf
}

// Reset empties the batch; its first record will be seq first. It keeps the
// memory: the batch must not be reset while an Append of it runs.
func (b *Batch) Reset(first uint64) {
	b.first, b.buf, b.ends = first, b.buf[:0], b.ends[:0]
}

// Len returns the number of records.
func (b *Batch) Len() int { return len(b.ends) }

// Size returns the bytes of all frames.
func (b *Batch) Size() int { return len(b.buf) }

// Last returns the seq of the last record, first-1 if there is none.
func (b *Batch) Last() uint64 { return b.first + uint64(len(b.ends)) - 1 }

// Add appends the next record: encode appends the event's bytes to what it is
// given. It returns how many bytes those were. An error of encode adds nothing.
func (b *Batch) Add(prev uint64, encode func([]byte) ([]byte, error)) (int, error) {
	start := len(b.buf)
	var header [frameHeader]byte
	buf, err := encode(append(b.buf, header[:]...))
	if err != nil {
		return 0, err
	}
	b.buf = buf
	closeFrame(b.first+uint64(len(b.ends)), prev, b.buf[start:])
	b.ends = append(b.ends, len(b.buf))
	return len(b.buf) - start - frameHeader, nil
}

// AddRecord appends a record as it was read. Its seq must be the next one.
func (b *Batch) AddRecord(r Record) error {
	if next := b.first + uint64(len(b.ends)); r.Seq != next {
		return fmt.Errorf("record %d where %d is next", r.Seq, next)
	}
	_, err := b.Add(r.Prev, func(buf []byte) ([]byte, error) { return append(buf, r.Bytes...), nil })
	return err
}

// Truncate drops all records but the first n.
func (b *Batch) Truncate(n int) {
	if n >= len(b.ends) {
		return
	}
	end := 0
	if n > 0 {
		end = b.ends[n-1]
	}
	b.buf, b.ends = b.buf[:end], b.ends[:n]
}

// part is a run of a batch's records. It stays valid while the batch grows.
type part struct {
	first uint64
	start int    // where its first frame begins in buf
	buf   []byte // the frames
	ends  []int  // where each frame ends in buf
}

// from returns the records from number n on.
func (b *Batch) from(n int) part {
	p := part{first: b.first + uint64(n), buf: b.buf, ends: b.ends[n:len(b.ends):len(b.ends)]}
	if n > 0 {
		p.start = b.ends[n-1]
	}
	return p
}

// each calls fn with every record's key and frame, in order.
func (p part) each(fn func(key [8]byte, frame []byte) error) error {
	start := p.start
	for i, end := range p.ends {
		if err := fn(seqKey(p.first+uint64(i)), p.buf[start:end:end]); err != nil {
			return err
		}
		start = end
	}
	return nil
}
