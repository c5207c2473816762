package projector

import (
	"bytes"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger/event"
)

// Decode reads what Encode wrote, and nothing else: bytes that are not the
// canonical encoding of a state that events can lead to are refused with
// ErrCorruptState, a newer format with ErrNewerState. It keeps no reference to
// b.
func Decode(b []byte) (*State, error) {
	s := New()
	format, err := formatOf(b)
	if err != nil {
		return nil, err
	}
	if format > stateFormat {
		return nil, fmt.Errorf("format %d, this build reads up to %d; use a newer build: %w", format, stateFormat, ErrNewerState)
	}
	r := &reader{}
	r.each(b, s.field)
	if r.err != nil {
		return nil, r.err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	s.rebuild()
	// Whatever the fields above let pass (an unknown or repeated field, an
	// overlong number, a list out of order) does not come out the same again.
	if !bytes.Equal(s.Encode(), b) {
		return nil, fmt.Errorf("not the canonical bytes: %w", ErrCorruptState)
	}
	return s, nil
}

// formatOf reads the first field alone, before anything that a newer format
// may have changed.
func formatOf(b []byte) (uint64, error) {
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 || num != 1 || typ != protowire.VarintType {
		return 0, fmt.Errorf("no format number in front: %w", ErrCorruptState)
	}
	v, m := protowire.ConsumeVarint(b[n:])
	if m < 0 || v == 0 {
		return 0, fmt.Errorf("no format number in front: %w", ErrCorruptState)
	}
	return v, nil
}

// check holds what Apply relies on and the canonical form does not show.
func (s *State) check() error {
	for _, h := range s.handles {
		if err := s.checkHandle(h); err != nil {
			return fmt.Errorf("handle %v: %w: %w", h.ID, err, ErrCorruptState)
		}
	}
	if err := s.checkIDs(); err != nil {
		return err
	}
	var last uint64
	for _, i := range s.invocations {
		if i.Started.Seq <= last || i.Started.Seq > s.seq {
			return fmt.Errorf("open invocations out of order: %w", ErrCorruptState)
		}
		last = i.Started.Seq
	}
	return nil
}

func (s *State) checkHandle(h *Handle) error {
	switch {
	case h.ID == ulid.ULID{}:
		return fmt.Errorf("no id")
	case h.Tier < event.TierSync || h.Tier > event.TierPersistent:
		return fmt.Errorf("tier %d", h.Tier)
	case h.Phase < PhaseRequested || h.Phase > PhaseLost:
		return fmt.Errorf("phase %d", h.Phase)
	case h.LastSeq > s.seq:
		return fmt.Errorf("last seq %d after the state's", h.LastSeq)
	case (h.Phase == PhaseExited) != (h.Exit != nil):
		return fmt.Errorf("%v with exit %v", h.Phase, h.Exit)
	case h.Exit != nil && (h.Exit.Code == nil) == (h.Exit.Signal == nil):
		return fmt.Errorf("exit without or with both of code and signal")
	case len(h.Obligations) > 0 && !h.Phase.Live():
		return fmt.Errorf("obligations of an ended process")
	}
	if err := checkPersistent(h); err != nil {
		return err
	}
	for _, o := range h.Obligations {
		if o.Cancel != (ulid.ULID{}) && s.cancels[o.Cancel] == nil {
			return fmt.Errorf("cancel %v is not open", o.Cancel)
		}
	}
	return nil
}

// checkPersistent holds what the fields of the persistent tier may say.
func checkPersistent(h *Handle) error {
	persistent := h.Tier == event.TierPersistent && h.Phase != PhaseRequested
	switch {
	case h.Overflow > event.OverflowBackpressure:
		return fmt.Errorf("overflow %d", h.Overflow)
	case h.StdinClosed && !h.KeepStdinOpen:
		return fmt.Errorf("stdin closed that was not kept open")
	case h.StdinClosedSeq > h.LastSeq:
		return fmt.Errorf("stdin closed after its last event")
	case !persistent && (len(h.ProcessIDHash) > 0 || h.Watch != nil || h.Attached > 0):
		return fmt.Errorf("process id, watch or attachment of a process that has none")
	case h.Expired.Seq != 0 && (!persistent || !h.Phase.Terminal()):
		return fmt.Errorf("retention of a process that has not ended")
	}
	return nil
}

// checkIDs holds that no two handles have the same process id.
func (s *State) checkIDs() error {
	seen := map[string]bool{}
	for _, h := range s.handles {
		hash := string(h.ProcessIDHash)
		if hash != "" && seen[hash] {
			return fmt.Errorf("handle %v: its process id stands there twice: %w", h.ID, ErrCorruptState)
		}
		seen[hash] = true
	}
	return nil
}

// reader walks the fields of messages and keeps the first error.
type reader struct{ err error }

// field is one field of a message: v of a number, raw of anything else. A
// field of the wrong type reads as zero and fails the comparison of canonical
// bytes.
type field struct {
	num protowire.Number
	v   uint64
	raw []byte
}

// each calls fn with every field of the message b.
func (r *reader) each(b []byte, fn func(*reader, field)) {
	for len(b) > 0 && r.err == nil {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			r.fail(protowire.ParseError(n))
			return
		}
		b = b[n:]
		f := field{num: num}
		switch typ {
		case protowire.VarintType:
			f.v, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			f.raw, n = protowire.ConsumeBytes(b)
		default:
			r.fail(fmt.Errorf("field %d has wire type %d", num, typ))
			return
		}
		if n < 0 {
			r.fail(protowire.ParseError(n))
			return
		}
		b = b[n:]
		fn(r, f)
	}
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %w", err, ErrCorruptState)
	}
}

func (f field) str() string   { return string(f.raw) }
func (f field) bytes() []byte { return bytes.Clone(f.raw) }
func (f field) bool() bool    { return f.v != 0 }
func (f field) int() int64    { return int64(f.v) }

// id reads 16 bytes; another length reads as it may and fails the comparison
// of canonical bytes.
func (f field) id() (id [16]byte) {
	copy(id[:], f.raw)
	return id
}
