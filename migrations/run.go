package migrations

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/internal/crashpoint"
)

// Current is the layout of this build: the one that Run brings a data
// directory to.
const Current = 1

// steps are all there are, in order: steps[i] leads from layout i to i+1.
var steps = []step{step1}

// step leads from the layout before to layout to.
type step struct {
	to   int
	name string // what it does, in a few words

	// touches names what has to be in the backup: paths below the data
	// directory that the step changes or removes.
	touches func(dir string) ([]string, error)

	// plan says what apply would do, a line each. It changes nothing.
	plan func(dir string) ([]string, error)

	// apply does it, durably. It is idempotent: after a crash it runs again
	// on whatever it had done by then.
	apply func(ctx context.Context, dir string) error
}

// Options of Run. The zero value migrates without a word.
type Options struct {
	// DryRun only says what would be done, in the Report. Nothing is changed.
	DryRun bool

	// Log gets a line for each step; nil means nowhere.
	Log *slog.Logger
}

// Report is what Run did, or would do.
type Report struct {
	From, To int // layout before and after; equal if there was nothing to do
	DryRun   bool
	Steps    []StepReport
}

// StepReport is one step of a Report.
type StepReport struct {
	From, To int
	Name     string

	// Backup is the name, in the data directory, of the directory with copies
	// of everything the step touches. It is empty where the step touches
	// nothing that was there. A dry run gives it without its unique ending.
	Backup string

	BackedUp []string // paths that the backup holds
	Actions  []string // what was done, for people
	Resumed  bool     // a crash had interrupted this step before
}

// Run brings the data directory to layout [Current] and reports what it did. A
// directory that is empty or does not exist gets the current layout from
// scratch.
//
// The caller holds the data directory's lock. Run blocks for as long as the
// steps take; ctx ends it between two of them or where a step looks at it, and
// the next Run goes on from there.
//
// The errors: a [NewerError], ErrForeign, ErrDamaged, those of the file
// system. With a DryRun the errors are the same and nothing is changed.
func Run(ctx context.Context, dataDir string, o Options) (Report, error) {
	return run(ctx, dataDir, steps, o)
}

func run(ctx context.Context, dir string, steps []step, o Options) (Report, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	have, err := Read(dir)
	if err != nil {
		return Report{}, fmt.Errorf("migrate: %w", err)
	}
	r := Report{From: have, To: have, DryRun: o.DryRun}
	n, noted, err := readNote(dir)
	if err != nil {
		return r, fmt.Errorf("migrate: %w", err)
	}
	// A newer build that was stopped in the middle of a step has left the old
	// number, and files that only it knows.
	if newest := max(have, n.to); newest > len(steps) {
		return r, &NewerError{Dir: dir, Have: newest, Known: len(steps)}
	}
	if noted && n.to <= have && !o.DryRun { // that step is done
		if err := removeDurably(filepath.Join(dir, noteName)); err != nil {
			return r, fmt.Errorf("migrate: %w", err)
		}
	}
	for from := have; from < len(steps); from++ {
		one, err := take(ctx, dir, from, steps[from], o)
		if err != nil {
			return r, fmt.Errorf("migrate %s from layout %d to %d: %w", dir, from, steps[from].to, err)
		}
		r.Steps = append(r.Steps, one)
		r.To = steps[from].to
	}
	return r, nil
}

// take takes one step, or says what it would do.
func take(ctx context.Context, dir string, from int, s step, o Options) (StepReport, error) {
	r := StepReport{From: from, To: s.to, Name: s.name}
	if err := ctx.Err(); err != nil {
		return r, err
	}
	n, resumed, err := readNote(dir)
	if err != nil {
		return r, err
	}
	if resumed && n.to <= from {
		resumed = false // a dry run has left the note of a finished step
	}
	if resumed && (n.from != from || n.to != s.to) {
		return r, fmt.Errorf("%w: the note speaks of layouts %d and %d", ErrDamaged, n.from, n.to)
	}
	r.Resumed = resumed
	if o.DryRun {
		return r, foresee(dir, s, &r)
	}
	o.Log.Info("migrating", "step", s.name, "from", from, "to", s.to, "resumed", resumed)
	if !resumed {
		if n, err = begin(dir, from, s); err != nil {
			return r, err
		}
	}
	r.Backup = n.backup
	if err := perform(ctx, dir, s, n, &r); err != nil {
		return r, err
	}
	o.Log.Info("migrated", "step", s.name, "layout", s.to, "backup", n.backup)
	return r, nil
}

// foresee fills in the report of a dry run.
func foresee(dir string, s step, r *StepReport) (err error) {
	if r.BackedUp, err = s.touches(dir); err != nil {
		return err
	}
	if len(r.BackedUp) > 0 {
		r.Backup = backupName + strconv.Itoa(r.From) + "-"
	}
	if r.Actions, err = s.plan(dir); err != nil {
		return err
	}
	r.Actions = append(r.Actions, layoutAction(s.to))
	return nil
}

func layoutAction(to int) string { return fmt.Sprintf("write %s: %d", layoutName, to) }

// begin writes the note.
func begin(dir string, from int, s step) (note, error) {
	n := note{from: from, to: s.to}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return n, err
	}
	if err := syncDir(filepath.Dir(filepath.Clean(dir))); err != nil {
		return n, err
	}
	touched, err := s.touches(dir)
	if err != nil {
		return n, err
	}
	if len(touched) > 0 {
		n.backup = backupName + strconv.Itoa(from) + "-" + ulid.Make().String()
	}
	// A crash here leaves an empty directory, or migrating.tmp in an old one:
	// both are as good as nothing.
	crashpoint.Here("migration.begin")
	if err := writeFile(filepath.Join(dir, noteName), []byte(n.String()), 0o600); err != nil {
		return n, err
	}
	// A crash here leaves the note: the next Run resumes the step, and makes
	// the backup first.
	crashpoint.Here("migration.noted")
	return n, nil
}

// perform backs up, applies the step and writes the new layout.
func perform(ctx context.Context, dir string, s step, n note, r *StepReport) (err error) {
	if r.Actions, err = s.plan(dir); err != nil {
		return err
	}
	if n.backup != "" {
		if r.BackedUp, err = backUp(dir, s, n.backup); err != nil {
			return fmt.Errorf("backup: %w", err)
		}
	}
	// A crash here leaves note and backup: the next Run finds the backup
	// complete and applies the step.
	crashpoint.Here("migration.backed-up")
	if err := s.apply(ctx, dir); err != nil {
		return err
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	// A crash here, or anywhere in the step, leaves the old layout's number:
	// the next Run applies the step once more.
	crashpoint.Here("migration.applied")
	if err := writeFile(filepath.Join(dir, layoutName), []byte(strconv.Itoa(s.to)+"\n"), 0o644); err != nil {
		return err
	}
	r.Actions = append(r.Actions, layoutAction(s.to))
	// A crash here leaves the new layout and the note: the step is done, and
	// the next Run removes the note.
	crashpoint.Here("migration.layout-written")
	return removeDurably(filepath.Join(dir, noteName))
}

// backUp copies what the step touches, unless a run before has finished that.
// The step has changed nothing as long as the backup is not complete.
func backUp(dir string, s step, name string) ([]string, error) {
	final := filepath.Join(dir, name)
	if _, err := os.Lstat(final); err == nil {
		return backedUp(final)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	touched, err := s.touches(dir)
	if err != nil {
		return nil, err
	}
	tmp := final + tmpSuffix
	if err := os.RemoveAll(tmp); err != nil {
		return nil, err
	}
	if err := copyInto(dir, tmp, touched); err != nil {
		return nil, err
	}
	// A crash here leaves a whole backup that is still called .tmp: the next
	// Run makes it again all the same.
	crashpoint.Here("migration.backup-copied")
	return touched, renameDurably(tmp, final)
}

// copyInto copies paths of dir to the same paths below dst.
func copyInto(dir, dst string, paths []string) error {
	if err := os.Mkdir(dst, 0o700); err != nil {
		return err
	}
	for _, p := range paths {
		if !filepath.IsLocal(p) {
			return fmt.Errorf("%s lies outside of the data directory", p)
		}
		to := filepath.Join(dst, p)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		if err := copyTree(filepath.Join(dir, p), to); err != nil {
			return err
		}
		// A crash here leaves part of a backup, called .tmp: the next Run
		// throws it away and begins again.
		crashpoint.Here("migration.backup-copying")
		if err := syncDir(filepath.Dir(to)); err != nil {
			return err
		}
	}
	return syncDir(dst)
}

// backedUp lists what a complete backup holds at its top.
func backedUp(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}
