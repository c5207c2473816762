package salvage

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/segment"
	"github.com/astrid-os/processledger/ledger/verify"
)

// Fold is the projection whose bytes open the segments: a [ledger.Fold], of
// which only these are called.
type Fold interface {
	// Restore sets the state to what Encode returned; nil: the empty state.
	// An error that is ledger.ErrNewerLayout says that a newer build wrote it:
	// then nothing is damaged, and nothing is salvaged.
	Restore(opening []byte) error

	// Replay takes in the next event. An error means that it is no legal step.
	Replay(e *event.Event) error

	// Encode returns the state's canonical bytes.
	Encode() []byte
}

// survey is what can be read of one file.
type survey struct {
	file   segment.File
	aside  string // the name under which it lies aside already
	sha256 [32]byte

	meta    segment.Meta
	metaOK  bool
	opening []byte // nil: unknown, or not what was written
	known   bool   // the opening state is known: opening, or the empty one

	// kept is the last event of the run that is whole, from the file's first
	// on; first-1 if there is none.
	kept  uint64
	fault string // why the run ends before the file does, or what else is wrong

	readable uint64    // events behind the run that are what was written
	most     uint64    // the largest seq in the file
	lastID   ulid.ULID // the largest id that could be read
	recorded []string  // names of files that the run says were set aside before
}

// look surveys a file. The fold, where the state is known, is left after the
// last event of the run.
func look(f segment.File, fold Fold) (*survey, error) {
	s := &survey{file: f, kept: f.First - 1}
	sum, err := segment.FileSHA256(f.Path)
	if err != nil {
		return nil, err
	}
	s.sha256 = sum
	first, err := s.firstEvent()
	if err != nil {
		return nil, err
	}
	raw, err := verify.OpenRaw(f.Path)
	if err != nil {
		return nil, err
	}
	s.meta, s.metaOK, s.opening = raw.Meta, raw.MetaOK, raw.Opening
	if err := s.judgeOpening(first, fold); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	s.run(raw, fold)
	if s.fault == "" && len(raw.Faults) > 0 {
		s.fault = raw.Faults[0]
	}
	if s.fault == "" && s.metaOK && s.meta.First != f.First {
		s.fault = fmt.Sprintf("its first event is %d, its name says %d", s.meta.First, f.First)
	}
	return s, raw.Close()
}

// firstEvent returns the segment.opened that the file begins with, nil if it
// cannot be read. It takes a walk of its own: by it the opening state is judged.
func (s *survey) firstEvent() (opened *event.SegmentOpened, err error) {
	raw, err := verify.OpenRaw(s.file.Path)
	if err != nil {
		return nil, err
	}
	raw.Records(func(seq uint64, frame []byte) {
		if seq != s.file.First || opened != nil {
			return
		}
		if e, err := decode(seq, frame); err == nil {
			opened, _ = e.Body.(*event.SegmentOpened)
		}
	})
	return opened, raw.Close()
}

// judgeOpening tells whether the opening state is the one that was written, and
// one that the fold takes. Before the first event of all it is the empty one,
// whatever the file says.
func (s *survey) judgeOpening(first *event.SegmentOpened, fold Fold) error {
	opening := s.opening
	sum := sha256.Sum256(opening)
	fits := opening != nil && (s.metaOK && sum == s.meta.StateSHA256 || first != nil && bytes.Equal(sum[:], first.StateSHA256))
	switch {
	case s.file.First == 1:
		opening = nil
	case !fits:
		return nil
	}
	err := guard(func() error {
		if err := fold.Restore(opening); err != nil {
			return err
		}
		s.opening = fold.Encode()
		return nil
	})
	switch {
	case errors.Is(err, ledger.ErrNewerLayout):
		return fmt.Errorf("%s: %w", s.file.Path, err)
	case err != nil:
		s.fault = fmt.Sprintf("the opening state cannot be read: %v", err)
	}
	s.known = err == nil
	return nil
}

// run walks the records: those of the run are replayed, those behind it counted.
func (s *survey) run(raw *verify.Raw, fold Fold) {
	whole := s.known
	if !whole && s.fault == "" {
		s.fault = "the opening state cannot be read"
	}
	raw.Records(func(seq uint64, frame []byte) {
		s.most = max(s.most, seq)
		e, err := decode(seq, frame)
		if err == nil && e.ID.Compare(s.lastID) > 0 {
			s.lastID = e.ID
		}
		if whole {
			if err == nil && seq != s.kept+1 {
				err = fmt.Errorf("the next one is event %d: %w", seq, segment.ErrGap)
			}
			if err == nil {
				err = guard(func() error { return fold.Replay(e) })
			}
			if err == nil {
				s.kept = seq
				if b, ok := e.Body.(*event.LedgerSalvaged); ok {
					s.recorded = append(s.recorded, b.SetAside)
				}
				return
			}
			whole, s.fault = false, fmt.Sprintf("event %d: %v", s.kept+1, err)
		}
		if _, err := decode(seq, frame); err == nil && seq > s.kept {
			s.readable++
		}
	})
	switch {
	case !whole:
	case s.kept < s.file.First:
		s.fault = "no event can be read"
	case s.metaOK && s.meta.Sealed && s.kept < s.meta.Last:
		s.fault = fmt.Sprintf("events %d to %d are missing", s.kept+1, s.meta.Last)
		s.most = s.meta.Last
	}
}

// decode reads one record.
func decode(seq uint64, frame []byte) (*event.Event, error) {
	r, err := segment.OpenFrame(seq, frame)
	if err != nil {
		return nil, err
	}
	e, err := event.Decode(r.Bytes)
	switch {
	case err != nil:
		return nil, err
	case e.Seq != seq:
		return nil, fmt.Errorf("it says that it is event %d", e.Seq)
	}
	e.Prev = r.Prev
	return e, nil
}

// copyRun calls add with the records of the run, as they were read.
func (s *survey) copyRun(add func(ledger.RawEvent) error) (err error) {
	raw, err := verify.OpenRaw(s.file.Path)
	if err != nil {
		return err
	}
	next := s.file.First
	raw.Records(func(seq uint64, frame []byte) {
		if err != nil || seq != next || seq > s.kept {
			return
		}
		var r segment.Record
		if r, err = segment.OpenFrame(seq, bytes.Clone(frame)); err == nil {
			err = add(r)
			next++
		}
	})
	if err == nil && next != s.kept+1 {
		err = fmt.Errorf("%s: event %d cannot be read any more: is the disk failing?", s.file.Path, next)
	}
	return errors.Join(err, raw.Close())
}

// guard makes a panic of the projection an error.
func guard(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the projection panicked: %v", p)
		}
	}()
	return fn()
}
