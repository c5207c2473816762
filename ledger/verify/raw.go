package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/astrid-os/processledger/ledger/segment"
)

// mostFaults is how many faults of the structure a Raw keeps.
const mostFaults = 20

// Raw is one segment file as far as it can be read, damaged or not. It is read
// page by page, without bbolt.
type Raw struct {
	// Meta is what the segment says of itself; MetaOK tells whether that
	// could be read.
	Meta   segment.Meta
	MetaOK bool

	// Opening is the opening state, nil if it could not be read. Whether it
	// is the one that was written is for the caller to see: by its hash in
	// Meta, or in the segment's first event.
	Opening []byte

	// Faults say what is wrong with the file's structure, the first 20; those
	// of the records' pages are added by Records.
	Faults []string

	file    *os.File
	pages   *pages
	buckets map[string]bucket
}

// OpenRaw opens the segment file at path and reads what stands in front of its
// records. Damage is no error: it is in the Faults. Close it.
func OpenRaw(path string) (*Raw, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r := &Raw{file: f}
	if r.pages, err = openPages(f, info.Size(), r.fault); err != nil {
		r.pages = nil
		r.fault(err.Error())
		return r, nil
	}
	r.buckets = r.pages.buckets()
	r.readMeta()
	r.readOpening()
	return r, nil
}

// fault takes in one more fault.
func (r *Raw) fault(detail string) {
	if len(r.Faults) < mostFaults {
		r.Faults = append(r.Faults, detail)
	}
}

func (r *Raw) readMeta() {
	b, ok := r.buckets["meta"]
	if !ok {
		r.fault(`the bucket "meta" is missing`)
		return
	}
	values := make(map[string][]byte)
	r.pages.each(b, "meta", func(e entry) { values[string(e.key)] = bytes.Clone(e.value) })
	m, err := segment.MetaFrom(func(key []byte) []byte { return values[string(key)] })
	if r.Meta, r.MetaOK = m, err == nil; err != nil {
		r.fault(err.Error())
	}
}

func (r *Raw) readOpening() {
	b, ok := r.buckets["state"]
	if !ok {
		r.fault(`the bucket "state" is missing`)
		return
	}
	r.pages.each(b, "state", func(e entry) {
		if string(e.key) == "opening" {
			r.Opening = append([]byte{}, e.value...)
		}
	})
	switch {
	case r.Opening == nil:
		r.fault("the opening state is missing")
	case r.MetaOK && sha256.Sum256(r.Opening) != r.Meta.StateSHA256:
		r.fault("the opening state does not fit its hash")
	}
}

// Records calls fn with every entry among the records, in the order in which
// they stand in the file, whatever its bytes are: [segment.OpenFrame] tells
// whether it is what was written. frame is good until fn returns. Then it looks
// at the pages that hold nothing. It may be called once.
func (r *Raw) Records(fn func(seq uint64, frame []byte)) {
	if r.pages == nil {
		return
	}
	b, ok := r.buckets["events"]
	if !ok {
		r.fault(`the bucket "events" is missing`)
		return
	}
	r.pages.each(b, "events", func(e entry) {
		if len(e.key) != 8 || e.flags != 0 {
			r.fault(fmt.Sprintf("the key %x is not that of an event", e.key))
			return
		}
		fn(binary.BigEndian.Uint64(e.key), e.value)
	})
	r.pages.free()
}

// Close closes the file.
func (r *Raw) Close() error { return r.file.Close() }
