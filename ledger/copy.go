package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/astrid-os/processledger/ledger/segment"
)

// CopyNewest writes a consistent copy of the newest segment to w, as a file
// that OpenArchiveWith takes. Appends go on meanwhile.
//
// The copy is made on the ledger's disk first, so that a slow w holds nothing
// up; ErrNoSpace if there is no room for that. After a failed commit it
// returns ErrFailed until Reopen.
func (l *Ledger) CopyNewest(ctx context.Context, w io.Writer) (info CopyInfo, err error) {
	f, err := os.CreateTemp(segmentsDir(l.dir), "copy-*.tmp")
	if err != nil {
		return info, noSpace(fmt.Errorf("copy: %w", err))
	}
	// A crash before this leaves a file that the next opening removes.
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if info, err = l.snapshot(f); err != nil {
		return info, noSpace(fmt.Errorf("copy: %w", err))
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return info, fmt.Errorf("copy: %w", err)
	}
	info.Bytes, err = io.Copy(w, contextReader{ctx, f})
	return info, err
}

// snapshot writes the newest segment as of the last commit.
func (l *Ledger) snapshot(w io.Writer) (info CopyInfo, err error) {
	o, seg, err := l.shelf.take(l.last())
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, l.shelf.give(o)) }()
	view, err := l.view(seg)
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	if err := l.checkSpace(view.Size()); err != nil {
		return info, err
	}
	m := seg.Meta()
	info = CopyInfo{Ledger: m.Ledger, Ordinal: m.Ordinal, First: m.First}
	if info.Last, err = view.Last(); err != nil {
		return info, err
	}
	_, err = view.WriteTo(w)
	return info, err
}

// view opens a snapshot that holds durable events only.
func (l *Ledger) view(seg *segment.Segment) (*segment.Snapshot, error) {
	l.c.writing.Lock()
	defer l.c.writing.Unlock()
	if err := l.queue.failure(); err != nil {
		return nil, err
	}
	return seg.Snapshot()
}

// contextReader ends reading when ctx does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
