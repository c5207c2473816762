package ledger

import (
	"errors"
	"fmt"

	"github.com/astrid-os/processledger/ledger/segment"
)

// checkSpace refuses to write while the disk has less free than the reserve,
// what the file may grow by, and more bytes besides.
func (c *committer) checkSpace(more int64) error {
	if c.l.o.Reserve == 0 {
		return nil
	}
	free, err := c.l.o.freeBytes(c.l.dir)
	if err != nil {
		return fmt.Errorf("free space of %s: %w", c.l.dir, err)
	}
	if want := c.l.o.Reserve + segment.GrowthStep + more; free < want {
		return fmt.Errorf("%d bytes free, %d wanted: %w", free, want, ErrNoSpace)
	}
	return nil
}

// reserve makes sure that the batch finds its blocks on the disk, or takes the
// batch back.
func (c *committer) reserve() error {
	damaged, err := c.newest.seg.Reserve(&c.batch)
	if err == nil {
		return nil
	}
	c.endStream()
	if damaged {
		return c.fail(err)
	}
	c.l.o.Fold.Discard()
	c.ids.last = c.head.ID
	return noSpace(err)
}

// noSpace makes an error of a full disk an ErrNoSpace.
func noSpace(err error) error {
	if err != nil && isFull(err) {
		return errors.Join(ErrNoSpace, err)
	}
	return err
}
