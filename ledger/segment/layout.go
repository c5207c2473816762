package segment

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/oklog/ulid/v2"
	bolt "go.etcd.io/bbolt"
)

// Layout 1. Everything a segment file holds:
//
//	meta/                  text, so that a person with any bbolt tool can read it
//	  layout        "1"
//	  ledger        the ledger's id, a ULID in its 26 characters
//	  ordinal       decimal, 1 for the ledger's first segment
//	  first         decimal, seq of the first event
//	  state-sha256  64 hex digits, hash of state/opening
//	  sealed        decimal, seq of the last event; absent until sealed
//	state/
//	  opening       the state before the first event, as the fold encodes it
//	events/
//	  SEQ           8 bytes, big endian  ->  a frame:
//	                  4 bytes  CRC-32C, little endian, over SEQ and the rest of the frame
//	                  8 bytes  seq of the previous event of the same handle, little endian, 0: none
//	                  n bytes  the event as package event encodes it
//
// The key is under the checksum, so a record that moved does not verify.
const Layout = 1

var (
	bucketMeta   = []byte("meta")
	bucketState  = []byte("state")
	bucketEvents = []byte("events")

	keyLayout  = []byte("layout")
	keyLedger  = []byte("ledger")
	keyOrdinal = []byte("ordinal")
	keyFirst   = []byte("first")
	keyState   = []byte("state-sha256")
	keySealed  = []byte("sealed")

	keyOpening = []byte("opening")
)

// Meta tells what a segment is. It is readable without the event codec.
type Meta struct {
	Layout      uint32    // version of the file's layout
	Ledger      ulid.ULID // the ledger it belongs to
	Ordinal     uint64    // 1 for the first segment of the ledger
	First       uint64    // seq of the first event
	StateSHA256 [32]byte  // of the opening state
	Sealed      bool      // true: never written again
	Last        uint64    // seq of the last event, if sealed
}

// put writes the meta bucket of a new segment.
func (m Meta) put(tx *bolt.Tx) error {
	b, err := tx.CreateBucket(bucketMeta)
	if err != nil {
		return err
	}
	for _, kv := range []struct {
		key   []byte
		value string
	}{
		{keyLayout, strconv.FormatUint(uint64(m.Layout), 10)},
		{keyLedger, m.Ledger.String()},
		{keyOrdinal, strconv.FormatUint(m.Ordinal, 10)},
		{keyFirst, strconv.FormatUint(m.First, 10)},
		{keyState, hex.EncodeToString(m.StateSHA256[:])},
	} {
		if err := b.Put(kv.key, []byte(kv.value)); err != nil {
			return err
		}
	}
	return nil
}

// metaOf reads the meta bucket.
func metaOf(tx *bolt.Tx) (Meta, error) {
	b := tx.Bucket(bucketMeta)
	if b == nil {
		return Meta{}, fmt.Errorf("no bucket %q: not a segment of a ledger", bucketMeta)
	}
	return MetaFrom(b.Get)
}

// MetaFrom reads a meta bucket of which get returns the values; nil: there is
// none. It reads the layout first and goes no further if that is newer than
// this build: then the error is ErrNewerLayout.
func MetaFrom(get func(key []byte) []byte) (Meta, error) {
	r := metaReader{get: get}
	m := Meta{Layout: uint32(r.number(keyLayout, 32))}
	if r.err == nil && m.Layout > Layout {
		return m, fmt.Errorf("layout %d, this build knows up to %d: %w", m.Layout, Layout, ErrNewerLayout)
	}
	m.Ledger = r.ulid(keyLedger)
	m.Ordinal = r.number(keyOrdinal, 64)
	m.First = r.number(keyFirst, 64)
	r.hash(keyState, &m.StateSHA256)
	if m.Sealed = get(keySealed) != nil; m.Sealed {
		m.Last = r.number(keySealed, 64)
	}
	return m, r.err
}

// metaReader reads values of the meta bucket and keeps the first error.
type metaReader struct {
	get func(key []byte) []byte
	err error
}

func (r *metaReader) fail(key []byte, err error) {
	if r.err == nil {
		r.err = fmt.Errorf("meta %s %q: %w", key, r.get(key), err)
	}
}

func (r *metaReader) number(key []byte, bits int) uint64 {
	n, err := strconv.ParseUint(string(r.get(key)), 10, bits)
	if err != nil {
		r.fail(key, err)
	}
	return n
}

func (r *metaReader) ulid(key []byte) ulid.ULID {
	id, err := ulid.ParseStrict(string(r.get(key)))
	if err != nil {
		r.fail(key, err)
	}
	return id
}

func (r *metaReader) hash(key []byte, to *[32]byte) {
	raw, err := hex.DecodeString(string(r.get(key)))
	if err == nil && len(raw) != len(to) {
		err = fmt.Errorf("%d bytes, want %d", len(raw), len(to))
	}
	if err != nil {
		r.fail(key, err)
		return
	}
	copy(to[:], raw)
}

// seqKey returns the key of the event seq.
func seqKey(seq uint64) [8]byte {
	var k [8]byte
	binary.BigEndian.PutUint64(k[:], seq)
	return k
}
