package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/segment"
)

// State is a projection that the verifier replays. Its panics are faults of
// the ledger, not of the process.
type State interface {
	// Restore sets the state to what Encode returned; nil: the empty state.
	Restore(opening []byte) error

	// Apply takes in the next event. An error means that it is no legal
	// step, and leaves the state as it was.
	Apply(e *event.Event) error

	// Encode returns the state's canonical bytes.
	Encode() []byte
}

// Options says how to verify. The zero value checks everything but what needs
// a projection, in a ledger that nobody writes.
type Options struct {
	// NewState returns an empty state of the projection whose bytes open the
	// ledger's segments; nil: no events are replayed, and the report says so.
	NewState func() State

	// Newest is the path of a copy of the newest segment, as
	// ledger.CopyNewest writes it: for a ledger with a live writer. Empty:
	// Dir copies the ledger's own newest segment, and fails if a writer is
	// at work.
	Newest string

	// Out gets faults and progress as lines of JSON as they are found, and
	// the report at the end; [ReadReport] reads them. It may be nil.
	Out io.Writer
}

// Dir verifies the ledger in dir and reports every fault that it finds. It
// changes nothing in dir. An error means that the ledger could not be
// verified, or not to the end: it is not there, a writer is at work
// (ledger.ErrWriterActive), a file may not be read, ctx ended, or o.Out failed.
func Dir(ctx context.Context, dir string, o Options) (*Report, error) {
	v := &verifier{ctx: ctx, o: o, report: &Report{}, out: newStream(o.Out)}
	if err := v.dir(dir); err != nil {
		err = fmt.Errorf("verify %s: %w", dir, err)
		v.out.write(line{Error: err.Error()})
		return v.report, err
	}
	v.out.write(line{Report: v.report})
	if v.out.err != nil {
		return v.report, fmt.Errorf("verify %s: write the findings: %w", dir, v.out.err)
	}
	return v.report, nil
}

// verifier is one run of [Dir].
type verifier struct {
	ctx    context.Context
	o      Options
	report *Report
	out    *stream
	at     Progress
	chain
}

func (v *verifier) fault(f Fault) {
	v.report.add(f)
	v.out.write(line{Fault: &f})
}

func (v *verifier) note(format string, args ...any) {
	v.report.Notes = append(v.report.Notes, fmt.Sprintf(format, args...))
}

// dir verifies all files in order.
func (v *verifier) dir(dir string) (err error) {
	files, cleanUp, err := v.files(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cleanUp()) }()
	if err := v.others(dir); err != nil {
		return err
	}
	if len(files) == 0 {
		v.note("the ledger holds no segment")
		return nil
	}
	for _, f := range files {
		v.at.Total += f.size
	}
	if v.o.NewState == nil {
		v.note("events were not replayed: no projection was given")
	}
	v.start(files[0].first)
	for i, f := range files {
		if err := v.segment(f, i == len(files)-1); err != nil {
			return err
		}
	}
	return nil
}

// file is one segment to verify.
type file struct {
	name  string // of the file in the ledger
	path  string // where its bytes are: for the newest, of the copy
	first uint64 // from the name
	size  int64
}

// files lists the segments; in place of the newest stands a copy that nobody
// writes.
func (v *verifier) files(dir string) (files []file, cleanUp func() error, err error) {
	cleanUp = func() error { return nil }
	var listed []segment.File
	newest := v.o.Newest
	if newest == "" {
		listed, newest, cleanUp, err = copyNewest(dir)
	} else {
		listed, err = before(dir, newest)
	}
	if err != nil {
		return nil, cleanUp, errors.Join(err, cleanUp())
	}
	for i, l := range listed {
		f := file{name: filepath.Base(l.Path), path: l.Path, first: l.First}
		if i == len(listed)-1 {
			f.path = newest
		}
		info, err := os.Stat(f.path)
		if err != nil {
			return nil, cleanUp, errors.Join(err, cleanUp())
		}
		f.size = info.Size()
		files = append(files, f)
	}
	return files, cleanUp, nil
}

// copyNewest copies the newest segment to where nobody else can read it.
func copyNewest(dir string) (listed []segment.File, path string, cleanUp func() error, err error) {
	cleanUp = func() error { return nil }
	tmp, err := os.MkdirTemp("", "astrid-verify-") // 0700
	if err != nil {
		return nil, "", cleanUp, err
	}
	cleanUp = func() error { return os.RemoveAll(tmp) }
	path = filepath.Join(tmp, "newest.seg")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, "", cleanUp, err
	}
	listed, err = ledger.CopyRaw(dir, f)
	return listed, path, cleanUp, errors.Join(err, f.Close())
}

// before lists the segments up to the one that newest is a copy of: the
// writer may have begun others since.
func before(dir, newest string) ([]segment.File, error) {
	listed, err := ledger.Segments(dir)
	if err != nil {
		return nil, err
	}
	first, err := firstOf(newest)
	if err != nil {
		return nil, fmt.Errorf("copy of the newest segment: %w", err)
	}
	for i, l := range listed {
		if l.First == first {
			return listed[:i+1], nil
		}
	}
	return nil, fmt.Errorf("copy of the newest segment: it begins with event %d, and no segment of the ledger does", first)
}

// others notes what else lies in the directory of segments.
func (v *verifier) others(dir string) error {
	entries, err := os.ReadDir(filepath.Join(dir, "segments"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		switch {
		case strings.HasSuffix(name, ".seg"):
		case strings.HasSuffix(name, ".tmp"):
			v.note("%s: left by a crash, or being made; the daemon removes it when it starts", name)
		case strings.Contains(name, ".seg.abandoned."):
			v.note("%s: a segment of which a commit failed, kept as it was; not verified", name)
		case strings.Contains(name, ".seg.damaged."):
			v.note("%s: a segment that was found damaged, kept as it was; not verified", name)
		default:
			v.note("%s: not a file of the ledger", name)
		}
	}
	return nil
}
