package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/astrid-os/processledger/ledger/segment"
)

// The reserve is what a full disk cannot take away from the recording of
// endings: how what runs ends. Where the file system can, its blocks are given
// to the newest segment's file, behind its end, so that nobody else gets them;
// elsewhere it is free space that everything but an ending leaves alone.
//
// Submit is refused as soon as the disk has no room for a growth step beside
// the reserve, and a refusal writes nothing: whatever keeps asking cannot use
// the reserve up. SubmitEnding goes on to the last block.

// place is where the newest segment is, and which file that was when it was
// opened.
type place struct {
	path string
	info fs.FileInfo
}

// errReplaced: there is another file where the newest segment was.
var errReplaced = errors.New("another file is in its place")

// errReadOnly: the file system was mounted anew, or gave up.
var errReadOnly = errors.New("the file system is read-only")

// reachable tells whether what is appended can be found again: a file that was
// deleted, or lies under another mount, takes writes without an error.
func (l *Ledger) reachable() error {
	p := l.place.Load()
	if p == nil {
		return nil // the newest is sealed: whoever makes the next one finds out
	}
	is, err := os.Stat(p.path)
	if err == nil && !os.SameFile(p.info, is) {
		err = fmt.Errorf("%s: %w", p.path, errReplaced)
	}
	return unwritable(err)
}

// fits tells why everything but an ending would be refused now: the newest
// segment cannot be reached, or there is less free than a growth step and more
// bytes, and the reserve where its blocks are not held.
func (l *Ledger) fits(more int64) error {
	if err := l.reachable(); err != nil {
		return err
	}
	return l.checkSpace(more)
}

// checkSpace refuses to write while the disk has less free than what the file
// may grow by, more bytes besides, and the reserve where its blocks are not
// held.
func (l *Ledger) checkSpace(more int64) error {
	if l.o.Reserve == 0 {
		return nil
	}
	free, err := l.o.freeBytes(l.dir)
	if err != nil {
		return unwritable(err)
	}
	want := segment.GrowthStep + more
	if !l.held.Load() {
		want += l.o.Reserve
	}
	if free < want {
		return fmt.Errorf("%w: %d bytes are free, %d are wanted", ErrNoSpace, free, want)
	}
	return nil
}

// spaceFor refuses a copy of so many bytes that the disk has no room for.
func (c *committer) spaceFor(size int64) error {
	if c.l.o.Reserve == 0 {
		return nil
	}
	free, err := c.l.o.freeBytes(c.l.dir)
	if err == nil && free < size {
		err = fmt.Errorf("%w: the copy of the newest segment takes %d bytes, %d are free", ErrNoSpace, size, free)
	}
	return unwritable(err)
}

// room makes sure that a batch of any kind can be written: fits, and the blocks
// of the reserve are held.
func (c *committer) room() error {
	if err := c.l.fits(0); err != nil {
		return err
	}
	return c.hold()
}

// hold has the newest segment hold the reserve. It does nothing if it does.
func (c *committer) hold() error {
	if c.l.o.Reserve == 0 || c.newest.seg == nil {
		return nil
	}
	held, err := c.newest.seg.Hold(c.l.o.Reserve)
	c.l.held.Store(held)
	return unwritable(noSpace(err))
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
	c.ids.takeOver(c.head.ID)
	return unwritable(noSpace(err))
}

// noSpace makes an error of a full disk an ErrNoSpace.
func noSpace(err error) error {
	if err != nil && isFull(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// unwritable makes every other error before a commit an ErrUnwritable: nothing
// was appended.
func unwritable(err error) error {
	if err == nil || CannotCommit(err) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnwritable, err)
}
