package verify

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"

	"github.com/astrid-os/processledger/ledger/segment"
)

// segmentCheck is the check of one file.
type segmentCheck struct {
	*verifier
	file
	newest  bool
	pages   *pages
	meta    segment.Meta
	metaOK  bool
	opening []byte // the opening state; nil if it was not found
}

func (c *segmentCheck) found(class Class, seq uint64, format string, args ...any) {
	c.fault(Fault{Class: class, Segment: c.name, Seq: seq, Detail: fmt.Sprintf(format, args...)})
}

// segment verifies one file and carries the chain on to the next.
func (v *verifier) segment(f file, newest bool) error {
	v.at.Segment, v.at.Events = f.name, v.report.Events
	v.out.write(line{Progress: &v.at})
	v.report.Segments++
	c := &segmentCheck{verifier: v, file: f, newest: newest}
	r, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer r.Close()
	c.pages, err = openPages(r, f.size, func(detail string) { c.found(ClassPage, 0, "%s", detail) })
	if err != nil {
		c.found(ClassPage, 0, "%v", err)
		v.lost(c)
		return v.ctx.Err()
	}
	if err := c.content(); err != nil {
		return err
	}
	v.at.Bytes += f.size
	return v.ctx.Err()
}

// content checks what the buckets hold, and then the pages that hold nothing.
func (c *segmentCheck) content() error {
	buckets := c.pages.buckets()
	for _, name := range []string{"meta", "state", "events"} {
		if _, ok := buckets[name]; !ok {
			c.found(ClassMeta, 0, "the bucket %q is missing", name)
		}
	}
	c.unknown(buckets)
	c.readMeta(buckets)
	if c.meta.Layout > segment.Layout {
		return fmt.Errorf("%s: layout %d, this build knows up to %d: %w", c.name, c.meta.Layout, segment.Layout, segment.ErrNewerLayout)
	}
	c.readState(buckets)
	c.place()
	c.begin()
	err := c.events(buckets)
	if err == nil {
		c.pages.free()
		c.end()
	}
	return err
}

// unknown visits the buckets that no layout of this build has.
func (c *segmentCheck) unknown(buckets map[string]bucket) {
	for name, b := range buckets {
		if name != "meta" && name != "state" && name != "events" {
			c.note("%s: the bucket %q was not verified: this build does not know it", c.name, name)
			c.pages.each(b, name, func(entry) {})
		}
	}
}

// readMeta reads the meta bucket and checks it against the file's name.
func (c *segmentCheck) readMeta(buckets map[string]bucket) {
	b, ok := buckets["meta"]
	if !ok {
		return
	}
	values := make(map[string][]byte)
	c.pages.each(b, "meta", func(e entry) { values[string(e.key)] = bytes.Clone(e.value) })
	m, err := segment.MetaFrom(func(key []byte) []byte { return values[string(key)] })
	c.meta, c.metaOK = m, err == nil
	switch {
	case errors.Is(err, segment.ErrNewerLayout):
	case err != nil:
		c.found(ClassMeta, 0, "%v", err)
	case m.First != c.first:
		c.found(ClassMeta, 0, "its first event is %d, its name says %d", m.First, c.first)
	}
}

// readState reads the opening state and checks it against its hash.
func (c *segmentCheck) readState(buckets map[string]bucket) {
	b, ok := buckets["state"]
	if !ok {
		return
	}
	c.pages.each(b, "state", func(e entry) {
		if string(e.key) == "opening" {
			c.opening = append([]byte{}, e.value...)
		}
	})
	switch {
	case c.opening == nil:
		c.found(ClassMeta, 0, "the opening state is missing")
	case c.metaOK && sha256.Sum256(c.opening) != c.meta.StateSHA256:
		c.found(ClassHash, 0, "the opening state has the hash %x, the segment says %x", sha256.Sum256(c.opening), c.meta.StateSHA256)
	}
}

// place checks what the segment says of itself against the one before.
func (c *segmentCheck) place() {
	if !c.metaOK {
		return
	}
	before := c.before
	if c.ledger.IsZero() {
		c.ledger = c.meta.Ledger
	}
	switch {
	case c.meta.Ledger != c.ledger:
		c.found(ClassMeta, 0, "it is of the ledger %s, the segments before are of %s", c.meta.Ledger, c.ledger)
	case before == nil && c.meta.First == 1 && c.meta.Ordinal != 1:
		c.found(ClassMeta, 0, "it begins the ledger and has the ordinal %d", c.meta.Ordinal)
	case before != nil && before.metaOK && c.first == c.next && c.meta.Ordinal != before.meta.Ordinal+1:
		c.found(ClassMeta, 0, "its ordinal is %d, that of the segment before %d", c.meta.Ordinal, before.meta.Ordinal)
	}
	if !c.newest && !c.meta.Sealed {
		c.found(ClassMeta, 0, "it is not sealed, and another segment follows it")
	}
}

// firstOf returns the seq of the first event of the segment at path, as its
// meta says.
func firstOf(path string) (uint64, error) {
	r, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		return 0, err
	}
	p, err := openPages(r, info.Size(), func(string) {})
	if err != nil {
		return 0, err
	}
	values := make(map[string][]byte)
	if b, ok := p.buckets()["meta"]; ok {
		p.each(b, "meta", func(e entry) { values[string(e.key)] = bytes.Clone(e.value) })
	}
	m, err := segment.MetaFrom(func(key []byte) []byte { return values[string(key)] })
	return m.First, err
}
