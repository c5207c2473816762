package main

import (
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/spf13/cobra"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/export"
	"github.com/astrid-os/processledger/internal/query"
	"github.com/astrid-os/processledger/ledger/event"
)

// logFlags are the flags of log.
type logFlags struct {
	since, until string
	kinds, tiers []string
	filter       query.Filter
	lines        int
	reverse      bool
	follow       bool
	output       string
	cursor       cursorFlags
	json         *jsonFlag
}

func newLog(a *app) *cobra.Command {
	f := &logFlags{}
	cmd := &cobra.Command{
		Use: "log", Short: "Show what happened, and follow what happens", Args: noArgs,
		Long: `Show the ledger's events, oldest first. Values of one flag are alternatives;
different flags must all fit. --command, --tier and --label fit every event of
the processes that ran it, were asked for in it, or are called so.

Outputs (-o): table; sentence, an English sentence an event; json, one event a
line; csv, with cells that a spreadsheet would run as formulas made harmless.

Exit code 3 if nothing matched, 11 if events after the cursor are missing, 12 if
the cursor is not of this ledger.`,
		Example: `  astridctl log -S today -o sentence
  astridctl log --outcome refused --principal alice
  astridctl log -n 20 -f
  astridctl log --cursor-file seen -o json          only what is new since last time`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.log(cmd.Context(), f) },
	}
	f.bind(cmd)
	return cmd
}

func (f *logFlags) bind(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVarP(&f.since, "since", "S", "", "events from `TIME` on")
	fl.StringVarP(&f.until, "until", "U", "", "events up to `TIME`")
	fl.IntVarP(&f.lines, "lines", "n", 0, "only the last `N` events")
	fl.BoolVarP(&f.reverse, "reverse", "r", false, "newest first")
	fl.BoolVarP(&f.follow, "follow", "f", false, "go on with what is written from now on")
	fl.StringArrayVar(&f.filter.Principals, "principal", nil, "events of `NAME`")
	fl.StringArrayVar(&f.filter.Capsules, "capsule", nil, "events of the capsule `NAME`")
	fl.StringArrayVar(&f.filter.Commands, "command", nil, "events of processes that ran `COMMAND`")
	fl.StringArrayVar(&f.tiers, "tier", nil, "events of processes of `TIER`: sync, background or persistent")
	fl.StringArrayVar(&f.filter.Labels, "label", nil, "events of processes with the label `TEXT`")
	fl.StringArrayVar(&f.filter.CallIDs, "call-id", nil, "events of the call `ID`")
	fl.StringArrayVar(&f.filter.Handles, "handle", nil, "events of the process `ID`, or of the one id that begins so")
	fl.StringArrayVar(&f.kinds, "kind", nil, "events of `KIND`, such as spawn.decided")
	fl.StringArrayVar(&f.filter.Outcomes, "outcome", nil, "events that tell of `OUTCOME`: granted, refused, quota, failed, lost, exit:1, signal:9, …")
	fl.StringVarP(&f.filter.Text, "grep", "g", "", "events whose JSON matches the `REGEX`")
	fl.StringVarP(&f.output, "output", "o", "table", "`FORMAT`: table, sentence, json or csv")
	f.cursor.bind(cmd)
	f.json = addJSON(cmd, export.EventFields)
}

func (a *app) log(ctx context.Context, f *logFlags) error {
	q, err := a.logQuery(f)
	if err != nil {
		return err
	}
	src, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer src.close()
	if err := f.cursor.apply(ctx, src, &q.Filter); err != nil {
		return err
	}
	w, err := a.logWriter(f)
	if err != nil {
		return err
	}
	n, err := f.cursor.writeEvents(ctx, src, q, w)
	if interrupted(ctx, f, err) {
		err = nil // -f ends no other way
	}
	if err := errors.Join(err, f.cursor.save(context.WithoutCancel(ctx), a, src)); err != nil {
		return err
	}
	if n == 0 && !f.follow && !f.cursor.used() {
		return nothingf("no event matches")
	}
	return nil
}

// logQuery checks the flags and makes the query of them.
func (a *app) logQuery(f *logFlags) (*control.EventsQuery, error) {
	q := &control.EventsQuery{Filter: f.filter, Reverse: f.reverse, Limit: f.lines, Follow: f.follow}
	var err error
	if q.Filter.Since, err = a.parseTime("--since", f.since); err != nil {
		return nil, err
	}
	if q.Filter.Until, err = a.parseTime("--until", f.until); err != nil {
		return nil, err
	}
	for _, name := range f.kinds {
		k, err := event.ParseKind(name)
		if err != nil {
			return nil, usagef("--kind: %v", err)
		}
		q.Filter.Kinds = append(q.Filter.Kinds, k)
	}
	for _, name := range f.tiers {
		t, err := event.ParseTier(name)
		if err != nil {
			return nil, usagef("--tier: %v", err)
		}
		q.Filter.Tiers = append(q.Filter.Tiers, t)
	}
	switch err := q.Filter.Check(); {
	case err != nil:
		return nil, usagef("%v", err)
	case f.lines < 0:
		return nil, usagef("-n %d: the number of events cannot be negative", f.lines)
	case f.reverse && f.follow:
		return nil, usagef("-r and -f do not go together")
	case f.reverse && f.cursor.used():
		return nil, usagef("a cursor goes forward; it does not go together with -r")
	}
	return q, nil
}

// logWriter is where events go, by -o and --json.
func (a *app) logWriter(f *logFlags) (export.Writer, error) {
	if err := f.json.check(); err != nil {
		return nil, err
	}
	if f.json.on() {
		return export.NewJSONLines(a.stdout, f.json.fields()...), nil
	}
	switch f.output {
	case "table":
		return newLogTable(a), nil
	case "sentence":
		return newSentences(a), nil
	case "json":
		return export.NewJSONLines(a.stdout), nil
	case "csv":
		return export.NewCSV(a.stdout), nil
	}
	return nil, usagef("-o %q: use table, sentence, json or csv", f.output)
}

// writeEvents writes what q asks for and returns how many events it wrote.
// While following, each event is passed on at once.
func (f *cursorFlags) writeEvents(ctx context.Context, src source, q *control.EventsQuery, w export.Writer) (n int, err error) {
	for e, err := range inOrder(ctx, src, q) {
		if err != nil {
			return n, joinFlush(w, err)
		}
		if err := w.Write(e); err != nil {
			return n, err
		}
		n++
		if e.Seq > f.shown.seq {
			f.shown = cursor{e.Seq, e.ID}
		}
		if q.Follow {
			if err := w.Flush(); err != nil {
				return n, err
			}
		}
	}
	return n, w.Flush()
}

// joinFlush shows what was read before err, then returns err.
func joinFlush(w export.Writer, err error) error {
	if flush := w.Flush(); flush != nil {
		return flush
	}
	return err
}

// inOrder yields the last q.Limit events oldest first: they are read newest
// first and turned round. A follower's are turned round by the daemon.
func inOrder(ctx context.Context, src source, q *control.EventsQuery) iter.Seq2[*event.Event, error] {
	if q.Limit == 0 || q.Reverse || q.Follow {
		return src.events(ctx, q)
	}
	return func(yield func(*event.Event, error) bool) {
		back := *q
		back.Reverse = true
		var found []*event.Event
		for e, err := range src.events(ctx, &back) {
			if err != nil {
				yield(nil, err)
				return
			}
			found = append(found, e)
		}
		for _, e := range slices.Backward(found) {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// interrupted tells whether err is only how a follower was ended.
func interrupted(ctx context.Context, f *logFlags, err error) bool {
	return f.follow && err != nil && ctx.Err() != nil
}
