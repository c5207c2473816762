package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/internal/crashpoint"
)

// Mark says of what a snapshot is the state.
type Mark struct {
	Ledger ulid.ULID // the ledger's id
	First  uint64    // seq of the first event of the segment
	Seq    uint64    // of the last event that the state includes

	// Event is the SHA-256 of the record Seq as it is stored. It holds the
	// event's id, of which 80 bits are random: after a backup was restored, or
	// a failed commit, the ledger gives the same seq to another event, and
	// every event after the first such one differs.
	Event [32]byte

	// Rules names what the state depends on besides the events: another build
	// may know more kinds of them.
	Rules [32]byte
}

// EventHash returns what a [Mark] holds of the event that is stored as raw,
// behind the given event of its handle.
func EventHash(prev uint64, raw []byte) [32]byte {
	h := sha256.New()
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], prev)
	h.Write(b[:])
	h.Write(raw)
	var sum [32]byte
	h.Sum(sum[:0])
	return sum
}

// A file, all numbers big endian:
//
//	 8 bytes  "astrsnp" and the format, 1
//	16        ledger id
//	 8        seq of the segment's first event
//	 8        seq
//	32        event hash
//	32        rules
//	 8        bytes of the state
//	 n        the state, as the fold encodes it
//	32        SHA-256 of everything before
var magic = [8]byte{'a', 's', 't', 'r', 's', 'n', 'p', 1}

const (
	headSize = 8 + markSize + 8
	markSize = 16 + 8 + 8 + 32 + 32
	sumSize  = sha256.Size
)

// ErrInvalid: a file is not a whole snapshot, as a crash of the machine leaves
// it, or any damage.
var ErrInvalid = errors.New("not a valid snapshot")

func (m Mark) append(b []byte) []byte {
	b = append(b, m.Ledger[:]...)
	b = binary.BigEndian.AppendUint64(b, m.First)
	b = binary.BigEndian.AppendUint64(b, m.Seq)
	b = append(b, m.Event[:]...)
	return append(b, m.Rules[:]...)
}

// markOf reads what append wrote; b is long enough.
func markOf(b []byte) (m Mark) {
	copy(m.Ledger[:], b)
	m.First = binary.BigEndian.Uint64(b[16:])
	m.Seq = binary.BigEndian.Uint64(b[24:])
	copy(m.Event[:], b[32:])
	copy(m.Rules[:], b[64:])
	return m
}

// Encode returns the bytes of a snapshot file.
func Encode(m Mark, state []byte) []byte {
	b := make([]byte, 0, headSize+len(state)+sumSize)
	b = append(b, magic[:]...)
	b = m.append(b)
	b = binary.BigEndian.AppendUint64(b, uint64(len(state)))
	b = append(b, state...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// Decode reads what Encode wrote. The state is part of b. The error is an
// ErrInvalid.
func Decode(b []byte) (m Mark, state []byte, err error) {
	if len(b) < headSize+sumSize || !bytes.Equal(b[:len(magic)], magic[:]) {
		return m, nil, fmt.Errorf("%d bytes, no head of format %d: %w", len(b), magic[7], ErrInvalid)
	}
	body, sum := b[:len(b)-sumSize], b[len(b)-sumSize:]
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) {
		return m, nil, fmt.Errorf("its hash does not fit: %w", ErrInvalid)
	}
	state = body[headSize:]
	if n := binary.BigEndian.Uint64(body[headSize-8:]); n != uint64(len(state)) {
		return m, nil, fmt.Errorf("a state of %d bytes, %d are there: %w", n, len(state), ErrInvalid)
	}
	return markOf(body[len(magic):]), state, nil
}

// Read reads the snapshot file at path. The errors are ErrInvalid and those of
// the file system.
func Read(path string) (Mark, []byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Mark{}, nil, err
	}
	m, state, err := Decode(b)
	if err != nil {
		return m, nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, state, nil
}

// Write writes a snapshot into dir, which it makes if only that is missing,
// under a temporary name first. It does not flush: a crash of the machine may
// leave anything under the right name, which Read refuses. It is for one caller
// at a time in a directory.
func Write(dir string, m Mark, state []byte) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	path := filepath.Join(dir, name(m.Seq))
	if err := os.WriteFile(path+temporary, Encode(m, state), 0o600); err != nil {
		return errors.Join(err, removeIfThere(path+temporary))
	}
	// A crash here leaves a file with a temporary name, which the next Prune
	// removes.
	crashpoint.Here("ledger.snapshot.written")
	if err := os.Rename(path+temporary, path); err != nil {
		return errors.Join(err, removeIfThere(path+temporary))
	}
	// A crash here leaves one snapshot more than is kept.
	crashpoint.Here("ledger.snapshot.renamed")
	return nil
}
