package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Class says what kind of fault it is.
type Class string

// The classes of faults.
const (
	// ClassPage: the file's structure is damaged.
	ClassPage Class = "page"

	// ClassMeta: what a segment says of itself is damaged or contradicts its
	// place.
	ClassMeta Class = "meta"

	// ClassRecord: a record's checksum does not fit its bytes.
	ClassRecord Class = "record"

	// ClassDecode: a record's bytes are no event.
	ClassDecode Class = "decode"

	// ClassOrder: an event stands in the wrong place.
	ClassOrder Class = "order"

	// ClassLink: an event's pointer to the one before it of the same handle
	// is wrong.
	ClassLink Class = "link"

	// ClassTransition: an event is no legal step from the state before it.
	ClassTransition Class = "transition"

	// ClassCrash: the verifying process died. [ReadReport] adds it.
	ClassCrash Class = "crash"

	// ClassGap: events are missing.
	ClassGap Class = "gap"

	// ClassHash: bytes do not fit a hash that was recorded of them.
	ClassHash Class = "hash"

	// ClassState: an opening state is not what the events before it give.
	ClassState Class = "state"
)

// Exit codes of a verification.
const (
	ExitSound    = 0
	ExitCorrupt  = 10
	ExitGap      = 11
	ExitMismatch = 12
)

// ExitCode returns the exit code that stands for the class.
func (c Class) ExitCode() int {
	switch c {
	case ClassGap:
		return ExitGap
	case ClassHash, ClassState:
		return ExitMismatch
	default:
		return ExitCorrupt
	}
}

// Fault is one thing that is wrong.
type Fault struct {
	Class   Class  `json:"class"`
	Segment string `json:"segment"`       // name of the file
	Seq     uint64 `json:"seq,omitempty"` // the event concerned, the first of several; 0: none in particular
	Detail  string `json:"detail"`        // what was found and what was expected
}

// String returns the fault in one line.
func (f Fault) String() string {
	if f.Seq == 0 {
		return fmt.Sprintf("%s: %s: %s", f.Segment, f.Class, f.Detail)
	}
	return fmt.Sprintf("%s: event %d: %s: %s", f.Segment, f.Seq, f.Class, f.Detail)
}

// maxKept is how many faults a Report holds; a file of noise has a million.
const maxKept = 10_000

// Report is what a verification found.
type Report struct {
	// Faults are the faults in the order in which they were found, at most
	// 10,000 of them; Count is how many there were.
	Faults []Fault `json:"faults"`
	Count  int     `json:"count"`

	// Notes say what could not be checked and why, and what an operator may
	// want to know. They are no faults.
	Notes []string `json:"notes,omitempty"`

	Events   uint64 `json:"events"`   // sound records
	Segments int    `json:"segments"` // files looked at
	FirstSeq uint64 `json:"first_seq"`
	LastSeq  uint64 `json:"last_seq"`

	classes map[Class]bool
}

// Sound reports whether nothing is wrong.
func (r *Report) Sound() bool { return r.Count == 0 }

// ExitCode returns 0 for a sound ledger, otherwise the lowest of the codes of
// its faults: damage explains a gap, and either explains a hash.
func (r *Report) ExitCode() int {
	code := ExitSound
	for c := range r.classes {
		if code == ExitSound || c.ExitCode() < code {
			code = c.ExitCode()
		}
	}
	return code
}

func (r *Report) add(f Fault) {
	if r.classes == nil {
		r.classes = make(map[Class]bool)
	}
	r.classes[f.Class] = true
	if r.Count++; r.Count <= maxKept {
		r.Faults = append(r.Faults, f)
	}
}

// Progress says how far a verification is.
type Progress struct {
	Segment string `json:"segment"` // the file that is read
	Events  uint64 `json:"events"`  // sound records so far
	Bytes   int64  `json:"bytes"`   // size of the files done
	Total   int64  `json:"total"`   // size of all files
}

// line is one line of [Options.Out]; one field is set. The last line holds a
// report, or the error that kept it from being made.
type line struct {
	Progress *Progress `json:"progress,omitempty"`
	Fault    *Fault    `json:"fault,omitempty"`
	Report   *Report   `json:"report,omitempty"`
	Error    string    `json:"error,omitempty"`
}

// stream writes what is found as it is found, so that a crash loses nothing.
type stream struct {
	enc *json.Encoder // nil: nobody listens
	err error
}

func newStream(w io.Writer) *stream {
	if w == nil {
		return &stream{}
	}
	return &stream{enc: json.NewEncoder(w)}
}

func (s *stream) write(l line) {
	if s.enc != nil && s.err == nil {
		s.err = s.enc.Encode(l)
	}
}

// ReadReport reads what [Dir], in another process, wrote to [Options.Out].
// progress may be nil. If the process died before its report, which wait
// tells, the report holds the faults found until then and one of [ClassCrash]
// that names the file it was reading. wait is called at the end of r; it
// returns how the process ended.
func ReadReport(r io.Reader, progress func(Progress), wait func() error) (*Report, error) {
	found := &Report{}
	at := Progress{}
	dec := json.NewDecoder(r)
	for {
		var l line
		err := dec.Decode(&l)
		switch {
		case err != nil:
			return found.crashed(at, err, wait())
		case l.Fault != nil:
			found.add(*l.Fault)
		case l.Progress != nil:
			at = *l.Progress
			if progress != nil {
				progress(at)
			}
		case l.Report != nil:
			l.Report.classes = found.classes
			return l.Report, wait()
		case l.Error != "":
			_ = wait() // it says no more than the error
			return found, errors.New(l.Error)
		}
	}
}

// crashed ends a report that the process did not end.
func (r *Report) crashed(at Progress, readErr, died error) (*Report, error) {
	if !errors.Is(readErr, io.EOF) && !errors.Is(readErr, io.ErrUnexpectedEOF) {
		return r, fmt.Errorf("verify: read the findings: %w", errors.Join(readErr, died))
	}
	if at.Segment == "" {
		return r, fmt.Errorf("verify: nothing was verified: %w", errors.Join(readErr, died))
	}
	r.Events = at.Events
	r.add(Fault{Class: ClassCrash, Segment: at.Segment, Detail: fmt.Sprintf("the verifier died while it read this file, and says nothing of what follows: %v", died)})
	return r, nil
}
