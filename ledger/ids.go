package ledger

import (
	"crypto/rand"
	"encoding/binary"
	mathrand "math/rand/v2"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/event"
)

// Header is what the committer writes into each event.
type Header = event.Header

// Following returns the header of the event that comes i places after the one
// with header h in the same closure: times and boot id are the same, seq and
// id grow by i. A closure that returns several events can so know the header
// of each.
func Following(h Header, i int) Header {
	h.Seq += uint64(i)
	for ; i > 0; i-- {
		h.ID = increment(h.ID)
	}
	return h
}

// increment returns the next larger id: by one in the random part, which
// carries into the time part in the unlikely end.
func increment(id ulid.ULID) ulid.ULID {
	for i := len(id) - 1; i >= 0; i-- {
		id[i]++
		if id[i] != 0 {
			break
		}
	}
	return id
}

// leap returns a larger id, by a random step in the random part: from the same id
// nobody arrives at the same place twice.
func (s *idSource) leap(id ulid.ULID) ulid.ULID {
	step := s.random.Uint64() | 1<<63 // far more than anybody has incremented
	low := binary.BigEndian.Uint64(id[8:])
	binary.BigEndian.PutUint64(id[8:], low+step)
	if low+step >= step {
		return id
	}
	high := increment(ulid.ULID(append(make([]byte, 8), id[:8]...)))
	copy(id[:8], high[8:])
	return id
}

// idSource makes ids that always grow, and that nobody else has given: neither
// a ledger of which this one is an older copy, nor a commit that failed.
type idSource struct {
	last   ulid.ULID // the id of the ledger's last event
	from   ulid.ULID // what last was when this source took it over
	random *mathrand.ChaCha8
}

func newIDSource(last ulid.ULID) idSource {
	var seed [32]byte
	rand.Read(seed[:]) // never fails: the runtime ends the program instead
	return idSource{last: last, from: last, random: mathrand.NewChaCha8(seed)}
}

// takeOver goes on after an event behind which others may have been written
// that are not in the ledger.
func (s *idSource) takeOver(last ulid.ULID) { s.last, s.from = last, last }

// next returns an id for the wall time, larger than the last one. It does not
// take it in: whoever uses the id, or one that follows it, sets last.
//
// The id's time is the order time: max(now, last). So it never decreases, also
// when the clock steps back and also over a reopening, and within one
// millisecond the random part grows instead: by one, but for the first id after
// an event that was taken over, which is as far off as chance has it.
func (s *idSource) next(wall int64) ulid.ULID {
	ms := uint64(max(wall, 0)) / 1e6
	var id ulid.ULID
	if ms <= s.last.Time() || ms > ulid.MaxTime() || id.SetTime(ms) != nil {
		if s.last == s.from {
			return s.leap(s.last)
		}
		return increment(s.last)
	}
	var r [16]byte
	binary.LittleEndian.PutUint64(r[:], s.random.Uint64())
	binary.LittleEndian.PutUint64(r[8:], s.random.Uint64())
	copy(id[6:], r[:])
	id[6] &= 0x7f // room to grow within the millisecond
	return id
}
