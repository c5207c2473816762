package salvage

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/internal/crashpoint"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/segment"
)

// Options say how to salvage.
type Options struct {
	// NewFold returns an empty state of the projection whose bytes open the
	// ledger's segments. Required.
	NewFold func() Fold

	// Actor is who salvages, for the ledger.
	Actor event.Actor

	// DryRun has nothing changed: the result says what would be done.
	DryRun bool
}

// SetAside is a damaged file and where it is kept.
type SetAside struct {
	Path   string // that it had
	Kept   string // the name beside it that it has now; in a dry run empty
	SHA256 string // hex, of all its bytes
	Fault  string // what is wrong with it
}

// Result is what was done, or in a dry run would be.
type Result struct {
	// Sound is true if the ledger can be opened as it is. Then there is
	// nothing to do, and nothing was done.
	Sound bool

	// New is true if no event can be kept: the ledger begins anew.
	New bool

	KeptFrom, KeptTo uint64 // events of the ledger that are kept; 0, 0: none
	LostFrom         uint64 // first event that is lost; 0: none is known to be
	LostTo           uint64 // last event that is known to be lost
	Readable         uint64 // how many of them can still be read in the files set aside

	// SetAside are the damaged files, oldest first.
	SetAside []SetAside

	// Segment is the path of the segment that the ledger goes on with.
	Segment string
}

// Run salvages the ledger in dir. It takes the writer's place, so the daemon
// must not run (ledger.ErrLocked). A ledger that can be opened is left alone.
// It reads every file from the damage on once, some twice: about a second for a
// million events.
//
// It may be interrupted at any moment and run again.
//
// The errors: ledger.ErrLocked, ErrNoSpace, ErrNewerLayout, and those of the
// file system.
func Run(dir string, o Options) (r *Result, err error) {
	if err := os.MkdirAll(filepath.Join(dir, "segments"), 0o750); err != nil {
		return nil, fmt.Errorf("salvage: %w", err)
	}
	lock, err := ledger.Lock(dir)
	if err != nil {
		return nil, fmt.Errorf("salvage: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	j := &job{dir: dir, o: o, result: &Result{}}
	if err := j.choose(); err != nil {
		return nil, fmt.Errorf("salvage %s: %w", dir, err)
	}
	if j.result.Sound || o.DryRun {
		return j.result, nil
	}
	if err := j.carryOut(); err != nil {
		return nil, fmt.Errorf("salvage %s: %w", dir, err)
	}
	return j.result, nil
}

// job is one run.
type job struct {
	dir    string
	o      Options
	result *Result

	files []segment.File
	gone  []*survey // the files that the new segment stands for, oldest first
	build ledger.Rebuild
	last  ulid.ULID // the largest id that was seen
}

// choose looks for the newest file that the ledger can go on from.
func (j *job) choose() (err error) {
	if j.files, err = ledger.Segments(j.dir); err != nil {
		return err
	}
	for i := len(j.files) - 1; i >= 0; i-- {
		fold := j.o.NewFold()
		s, err := look(j.files[i], fold)
		if err != nil {
			return err
		}
		if s.meta.Layout > segment.Layout {
			return fmt.Errorf("%s: layout %d, this build knows up to %d: %w", s.file.Path, s.meta.Layout, segment.Layout, ledger.ErrNewerLayout)
		}
		newest := i == len(j.files)-1
		j.take(s)
		switch {
		case newest && s.known && s.fault == "":
			j.result.Sound = true
			return nil
		case !newest && s.known && s.fault == "" && s.kept+1 == j.files[i+1].First:
			return j.goOnAfter(s, i, fold)
		case s.known:
			return j.goOnIn(s, i)
		}
		j.gone = append([]*survey{s}, j.gone...)
	}
	return j.begin()
}

// brokenOff finds the files that a run before set aside, and that nothing tells
// of because it died before it was done. They were newer than what is kept.
func (j *job) brokenOff(kept uint64, recorded []string) ([]*survey, error) {
	names, err := filepath.Glob(filepath.Join(j.dir, "segments", "*.seg.damaged.*"))
	if err != nil {
		return nil, err
	}
	var found []*survey
	for _, name := range names {
		path, _, _ := strings.Cut(name, ".damaged.")
		first, ok := segment.FirstOf(path)
		_, err := os.Lstat(path)
		if !ok || first <= kept || slices.Contains(recorded, filepath.Base(name)) || err == nil {
			continue
		}
		s, err := look(segment.File{Path: name, First: first}, j.o.NewFold())
		if err != nil {
			return nil, err
		}
		s.fault = "set aside by a salvage that was broken off; " + s.fault
		s.aside = filepath.Base(name)
		j.take(s)
		found = append(found, s)
	}
	return found, nil
}

// take notes what a file tells of the whole ledger.
func (j *job) take(s *survey) {
	if s.metaOK && j.build.Ledger.IsZero() {
		j.build.Ledger = s.meta.Ledger
	}
	if s.lastID.Compare(j.last) > 0 {
		j.last = s.lastID
	}
}

// goOnAfter has a new segment follow one that is whole.
func (j *job) goOnAfter(s *survey, i int, fold Fold) error {
	j.build.Ordinal, j.build.First, j.build.State = s.ordinal(i)+1, s.kept+1, fold.Encode()
	j.build.Before, j.build.BeforeFirst = s.file.Path, s.file.First
	j.build.Records = func(func(ledger.RawEvent) error) error { return nil }
	return j.sum(s.kept, s.recorded)
}

// goOnIn has a new segment hold what is whole of one.
func (j *job) goOnIn(s *survey, i int) error {
	j.gone = append([]*survey{s}, j.gone...)
	j.build.Ordinal, j.build.First, j.build.State = s.ordinal(i), s.file.First, s.opening
	if i > 0 {
		j.build.Before, j.build.BeforeFirst = j.files[i-1].Path, j.files[i-1].First
	}
	j.build.Records = s.copyRun
	return j.sum(s.kept, s.recorded)
}

// begin has a new ledger begin: nothing can be kept.
func (j *job) begin() error {
	j.build.Ledger = ulid.ULID{}
	j.build.Ordinal, j.build.First = 1, 1
	fold := j.o.NewFold()
	if guard(func() error { return fold.Restore(nil) }) == nil {
		j.build.State = fold.Encode()
	}
	j.build.Records = func(func(ledger.RawEvent) error) error { return nil }
	return j.sum(0, nil)
}

// ordinal is the number of a segment, as it says, or else by its place.
func (s *survey) ordinal(i int) uint64 {
	if s.metaOK {
		return s.meta.Ordinal
	}
	return uint64(i) + 1
}

// sum fills in the result, once it is known what is kept.
func (j *job) sum(kept uint64, recorded []string) error {
	r := j.result
	again, err := j.brokenOff(kept, recorded)
	if err != nil {
		return err
	}
	j.gone = append(j.gone, again...)
	j.build.Through, r.New = kept, kept == 0
	if kept > 0 {
		r.KeptFrom, r.KeptTo = j.files[0].First, kept
	}
	for _, s := range j.gone {
		r.Readable += s.readable
		r.LostTo = max(r.LostTo, s.most, s.file.First)
		r.SetAside = append(r.SetAside, SetAside{Path: s.file.Path, Kept: s.aside, SHA256: hex.EncodeToString(s.sha256[:]), Fault: s.fault})
	}
	if r.LostTo > kept {
		r.LostFrom = kept + 1
	} else {
		r.LostTo = 0
	}
	j.build.After = j.last
	r.Segment = segment.Path(filepath.Join(j.dir, "segments"), j.build.First)
	return nil
}

// carryOut keeps the damaged files under other names and makes the new segment.
//
// A crash before the new segment has its name leaves a ledger that is damaged
// still, and files with two names: the next run takes the names as they are.
func (j *job) carryOut() error {
	if _, err := segment.RemoveLeftovers(filepath.Join(j.dir, "segments")); err != nil {
		return err
	}
	for i, s := range j.gone {
		if s.aside != "" {
			continue
		}
		name, err := segment.SetDamagedAside(s.file.Path)
		if err != nil {
			return err
		}
		j.result.SetAside[i].Kept = filepath.Base(name)
		j.build.Gone = append(j.build.Gone, s.file.Path)
	}
	crashpoint.Here("salvage.set-aside")
	j.build.Events = j.events()
	return j.build.Replace(j.dir)
}

// events are what the ledger is told: one event for each file set aside, at
// least one.
func (j *job) events() (es []*event.Event) {
	r := j.result
	add := func(fault, aside string, sum []byte) {
		es = append(es, &event.Event{Scope: event.Scope{Actor: j.o.Actor}, Body: &event.LedgerSalvaged{
			KeptFrom: r.KeptFrom, KeptTo: r.KeptTo, LostFrom: r.LostFrom, LostTo: r.LostTo, Readable: r.Readable,
			Fault: fault, SetAside: aside, SHA256: sum,
		}})
	}
	for i, s := range j.gone {
		add(s.fault, r.SetAside[i].Kept, s.sha256[:])
	}
	if len(es) == 0 {
		empty := sha256.Sum256(nil)
		add("there was no segment", "", empty[:0])
	}
	return es
}
