package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/ledger/salvage"
	"github.com/astrid-os/processledger/projector"
)

func newLedger(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "ledger", Short: "Back up, restore or salvage a ledger", Args: noArgs,
		Long: `Work on a ledger's files: copy them while the daemon runs or not, put a copy
back, or make a damaged ledger one that a daemon can open again.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSalvage(a), newBackup(a), newRestore(a))
	return cmd
}

func newSalvage(a *app) *cobra.Command {
	var dryRun, yes bool
	var j *jsonFlag
	cmd := &cobra.Command{
		Use: "salvage", Short: "Make a damaged ledger one that can be opened", Args: noArgs,
		Long: `Make a damaged ledger one that a daemon can open. The daemon must not run.

What is whole is kept, up to the first event that is damaged, missing, or no
legal step; what comes after it cannot be kept, since each state depends on all
events before. Damaged files stay beside the new one, under names that end in
.damaged.N, and the ledger says in ledger.salvaged what is lost, where the files
are and what their SHA-256 is. The next start of the daemon then matches what
still runs with what is kept: processes that the ledger does not know any more
are ended.

If a backup holds more events than can be kept, astridctl ledger restore loses
less. A ledger that can be opened is left alone.

Exit code 0 if the ledger was salvaged, or nothing is wrong; 10 if it is damaged
and nothing was done (a dry run, or without --yes).`,
		Example: "  astridctl ledger salvage --data /var/lib/astrid --dry-run\n  astridctl ledger salvage --data /var/lib/astrid --yes",
		RunE:    func(*cobra.Command, []string) error { return a.salvage(dryRun, yes, j) },
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be kept and lost, and do nothing")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it, although events may be lost")
	j = addJSON(cmd, salvageFields)
	return cmd
}

// salvageFields are the fields of salvageView's JSON.
var salvageFields = []string{"sound", "done", "new", "kept_from", "kept_to", "lost_from", "lost_to", "readable", "set_aside", "segment"}

// salvageView is the JSON of salvage, described in docs/CLI-JSON.md.
type salvageView struct {
	Sound    bool        `json:"sound"`
	Done     bool        `json:"done"`
	New      bool        `json:"new"`
	KeptFrom uint64      `json:"kept_from"`
	KeptTo   uint64      `json:"kept_to"`
	LostFrom uint64      `json:"lost_from"`
	LostTo   uint64      `json:"lost_to"`
	Readable uint64      `json:"readable"`
	SetAside []asideView `json:"set_aside"`
	Segment  string      `json:"segment"`
}

// asideView is one damaged file.
type asideView struct {
	Path   string `json:"path"`
	Kept   string `json:"kept,omitempty"`
	SHA256 string `json:"sha256"`
	Fault  string `json:"fault"`
}

func (a *app) salvage(dryRun, yes bool, j *jsonFlag) (err error) {
	if err := j.check(); err != nil {
		return err
	}
	if dryRun && yes {
		return usagef("--dry-run and --yes contradict each other")
	}
	place, err := a.offline()
	if err != nil {
		return err
	}
	defer place.done(&err)
	r, err := salvage.Run(place.ledger, salvage.Options{
		NewFold: func() salvage.Fold { return &salvageFold{projector.New()} }, Actor: me(), DryRun: !yes,
	})
	if err != nil {
		return err
	}
	v := salvageOf(r, yes && !r.Sound)
	if j.on() {
		err = j.write(a.stdout, v)
	} else {
		a.showSalvage(v, dryRun)
	}
	if err == nil && !v.Sound && !v.Done {
		err = silentError{exitCorrupt}
	}
	return err
}

// me is this user as an actor, for the ledger.
func me() event.Actor {
	return event.Actor{Kind: event.ActorOperator, UID: uint32(max(os.Geteuid(), 0)), Role: "operator"}
}

func salvageOf(r *salvage.Result, done bool) *salvageView {
	v := &salvageView{
		Sound: r.Sound, Done: done, New: r.New && !r.Sound, KeptFrom: r.KeptFrom, KeptTo: r.KeptTo, LostFrom: r.LostFrom, LostTo: r.LostTo,
		Readable: r.Readable, SetAside: []asideView{}, Segment: r.Segment,
	}
	for _, s := range r.SetAside {
		v.SetAside = append(v.SetAside, asideView(s))
	}
	return v
}

func (a *app) showSalvage(v *salvageView, dryRun bool) {
	p := a.palette()
	if v.Sound {
		fmt.Fprintln(a.stdout, p.Paint(ui.Good, "sound: ")+"a daemon can open this ledger; nothing was done")
		return
	}
	for _, s := range v.SetAside {
		fmt.Fprintf(a.stdout, "%s %s: %s\n", p.Paint(ui.Bad, "damaged:"), s.Path, ui.Safe(s.Fault))
		if s.Kept != "" {
			fmt.Fprintf(a.stdout, "  kept as %s, SHA-256 %s\n", s.Kept, s.SHA256)
		}
	}
	if v.KeptTo > 0 {
		fmt.Fprintf(a.stdout, "kept: events %d to %d\n", v.KeptFrom, v.KeptTo)
	} else {
		fmt.Fprintln(a.stdout, "kept: nothing; the ledger begins anew")
	}
	switch {
	case v.LostFrom > 0:
		fmt.Fprintf(a.stdout, "%s events %d to at least %d; %d of them can still be read in the damaged files\n", p.Paint(ui.Bad, "lost:"), v.LostFrom, v.LostTo, v.Readable)
	default:
		fmt.Fprintln(a.stdout, "lost: no event that is known of")
	}
	switch {
	case v.Done:
		fmt.Fprintln(a.stdout, p.Paint(ui.Good, "salvaged: ")+"the ledger goes on in "+v.Segment+"; start the daemon")
	case !dryRun:
		a.note("nothing was done: run it again with --yes, or restore a backup with astridctl ledger restore")
	}
}

// salvageFold is the projection that is replayed.
type salvageFold struct{ s *projector.State }

// Restore implements salvage.Fold.
func (f *salvageFold) Restore(opening []byte) (err error) {
	if opening == nil {
		f.s = projector.New()
		return nil
	}
	s, err := projector.Decode(opening)
	switch {
	case errors.Is(err, projector.ErrNewerState):
		return fmt.Errorf("%w: %w", ledger.ErrNewerLayout, err)
	case err == nil:
		f.s = s
	}
	return err
}

// Replay implements salvage.Fold.
func (f *salvageFold) Replay(e *event.Event) error { return f.s.Apply(e) }

// Encode implements salvage.Fold.
func (f *salvageFold) Encode() []byte { return f.s.Encode() }

// offlinePlace is a ledger whose files may be worked on: no daemon runs.
type offlinePlace struct {
	data   string // the data directory; empty if a ledger was named by itself
	ledger string
	lock   io.Closer
}

// Close gives what was made there to whom the place belongs, and lets daemons
// start again.
func (p *offlinePlace) Close() error {
	if p.lock == nil {
		return handBack(p.ledger, ".")
	}
	return errors.Join(handBack(p.data, "ledger", "keys", "layout", "lock"), p.lock.Close())
}

// done is Close at the end of a verb whose error err is.
func (p *offlinePlace) done(err *error) {
	if cerr := p.Close(); cerr != nil {
		*err = errors.Join(*err, cerr)
	}
}

// offline finds the ledger whose files are to be worked on, and keeps daemons
// from starting on it.
func (a *app) offline() (*offlinePlace, error) {
	if a.socket != "" {
		return nil, usagef("this verb works on files; name them with --data or --ledger, not with --socket")
	}
	if err := a.checkPlaces(); err != nil {
		return nil, err
	}
	if a.ledgerDir != "" {
		dir, err := ledgerIn(a.ledgerDir)
		return &offlinePlace{ledger: dir}, err
	}
	data := a.data()
	if !isDir(data) {
		return nil, usagef("%s is no data directory", data)
	}
	lock, err := lockData(data)
	return &offlinePlace{data: data, ledger: filepath.Join(data, "ledger"), lock: lock}, err
}
