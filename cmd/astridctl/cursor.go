package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"github.com/astrid-os/processledger/internal/query"
	"github.com/astrid-os/processledger/internal/ui"
)

// A cursor is how far a reader has come: the seq of an event, and its id, by
// which a ledger that was replaced or cut back is noticed. Written SEQ:ID; a
// bare SEQ is taken too.
type cursor struct {
	seq uint64
	id  ulid.ULID // zero: not known
}

func parseCursor(s string) (cursor, error) {
	seq, id, found := strings.Cut(strings.TrimSpace(s), ":")
	var c cursor
	var err error
	if c.seq, err = strconv.ParseUint(seq, 10, 64); err != nil {
		return c, usagef("cursor %q: a cursor is SEQ or SEQ:ID, as --show-cursor gives it", s)
	}
	if found {
		if c.id, err = ulid.ParseStrict(id); err != nil {
			return c, usagef("cursor %q: %v", s, err)
		}
	}
	return c, nil
}

// String is the cursor as it is written.
func (c cursor) String() string { return fmt.Sprintf("%d:%s", c.seq, c.id) }

// check holds the cursor against the ledger: it must be of this ledger, and
// nothing after it may be missing.
func (c cursor) check(ctx context.Context, src source) error {
	first, last, err := src.bounds(ctx)
	switch {
	case err != nil:
		return err
	case c.seq > last:
		return &codedError{exitMismatch, fmt.Errorf("cursor %d is beyond the ledger's last event, %d: it is of another ledger, or this one was cut back", c.seq, last)}
	case c.seq+1 < first:
		return &codedError{exitGap, fmt.Errorf("events %d to %d, after the cursor, are not in this ledger any more", c.seq+1, first-1)}
	case c.seq == 0 || c.seq < first || c.id.IsZero():
		return nil
	}
	e, err := src.get(ctx, c.seq)
	if err != nil {
		return err
	}
	if e.ID != c.id {
		return &codedError{exitMismatch, fmt.Errorf("event %d is %s here, the cursor says %s: it is of another ledger", c.seq, e.ID, c.id)}
	}
	return nil
}

// cursorFlags are the flags about cursors.
type cursorFlags struct {
	after, file string
	show        bool

	at    cursor // where this run began
	shown cursor // the newest event that was written
}

func (f *cursorFlags) bind(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.after, "after-cursor", "", "only events after the `CURSOR`")
	cmd.Flags().BoolVar(&f.show, "show-cursor", false, "print the cursor on standard error at the end")
	cmd.Flags().StringVar(&f.file, "cursor-file", "", "go on after the cursor in `FILE`, and keep the new one there")
}

// used tells whether the run goes on from an earlier one.
func (f *cursorFlags) used() bool { return f.after != "" || f.file != "" }

// apply puts the cursor's bound into the filter.
func (f *cursorFlags) apply(ctx context.Context, src source, q *query.Filter) error {
	text := f.after
	if f.after != "" && f.file != "" {
		return usagef("--after-cursor and --cursor-file do not go together")
	}
	if f.file != "" {
		b, err := os.ReadFile(f.file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		text = string(b) // empty the first time
	}
	if text == "" {
		return nil
	}
	var err error
	if f.at, err = parseCursor(text); err != nil {
		return err
	}
	if err := f.at.check(ctx, src); err != nil {
		return ui.Hint(err, "to begin anew, leave the cursor out")
	}
	q.FromSeq = max(q.FromSeq, f.at.seq+1)
	return nil
}

// save prints and keeps the cursor after the last event that was read, also
// when the reading failed later on.
func (f *cursorFlags) save(ctx context.Context, a *app, src source) error {
	if !f.show && f.file == "" {
		return nil
	}
	c := f.at
	if f.shown.seq > c.seq {
		c = f.shown
	}
	// Events that did not match need not be looked at again; if the last of
	// them cannot be named any more, they will be.
	if through := src.through(); through > c.seq {
		if e, err := src.get(ctx, through); err == nil {
			c = cursor{through, e.ID}
		}
	}
	if f.show {
		a.note("cursor: %s", c)
	}
	if f.file == "" || c.seq == 0 {
		return nil
	}
	return replaceFile(f.file, c.String()+"\n")
}

// replaceFile writes a file so that a crash leaves the old one or the new one:
// at worst events are shown again, never passed over.
func replaceFile(path, text string) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.WriteString(text)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
