package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/query"
	"github.com/astrid-os/processledger/internal/report"
	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/ledger/event"
)

func newWhy(a *app) *cobra.Command {
	var j *jsonFlag
	cmd := &cobra.Command{
		Use: "why ID", Short: "Explain why a process was allowed or refused", Args: oneArg("id"),
		Long: `Explain the decision about one process: which rule allowed or refused it, which
numbers were seen, and the text of the policies that were in force.

ID is as for show.`,
		Example: "  astridctl why 01KKNT",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.why(cmd.Context(), args[0], j) },
	}
	j = addJSON(cmd, whyFields)
	return cmd
}

// whyFields are the fields of whyView's JSON.
var whyFields = []string{"handle", "principal", "capsule", "command", "args", "decision", "decided_seq", "summary", "reasons", "policies", "complete"}

// whyView is the JSON of why, described in docs/CLI-JSON.md.
type whyView struct {
	Handle     string               `json:"handle"`
	Principal  string               `json:"principal"`
	Capsule    string               `json:"capsule"`
	Command    string               `json:"command"`
	Args       []string             `json:"args"`
	Decision   *report.DecisionView `json:"decision"`
	DecidedSeq uint64               `json:"decided_seq"`
	Summary    string               `json:"summary"`
	Reasons    []string             `json:"reasons"`
	Policies   []*event.Event       `json:"policies"`
	Complete   bool                 `json:"complete"`
}

func (a *app) why(ctx context.Context, id string, j *jsonFlag) error {
	if err := j.check(); err != nil {
		return err
	}
	src, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer src.close()
	f, err := find(ctx, src, id)
	if err != nil {
		return err
	}
	if f.story == nil {
		return ui.Hint(nothingf("event %d is a %s; only processes are decided about", f.event.Seq, f.event.Kind()), "see it with: astridctl show '#%d'", f.event.Seq)
	}
	y := &report.Why{Story: f.story}
	if err := policiesOf(ctx, src, y); err != nil {
		return err
	}
	if j.on() {
		return j.write(a.stdout, whyJSON(y))
	}
	return y.Write(a.stdout, a.look())
}

func whyJSON(y *report.Why) *whyView {
	s := y.Story.View()
	return &whyView{
		Handle: s.Handle, Principal: s.Principal, Capsule: s.Capsule, Command: s.Command, Args: s.Args, Decision: s.Decision,
		DecidedSeq: decidedSeq(y.Story), Summary: y.Headline(), Reasons: y.Reasons(),
		Policies: append([]*event.Event{}, y.Policies...), Complete: y.Complete,
	}
}

// decidedSeq is the seq of the decision, or of the story's first event.
func decidedSeq(s *report.Story) uint64 {
	for _, e := range s.Events {
		if e.Kind() == event.KindSpawnDecided {
			return e.Seq
		}
	}
	return s.Events[0].Seq
}

// policiesOf finds the newest policy of each subject before the decision. Each
// is looked for by itself and backwards, so that the search ends at the first.
func policiesOf(ctx context.Context, src source, y *report.Why) error {
	y.Complete = true
	for _, subject := range y.Story.Subjects() {
		e, err := policyBefore(ctx, src, subject, decidedSeq(y.Story))
		if err != nil {
			return err
		}
		if e != nil {
			y.Policies = append(y.Policies, e)
		} else {
			y.Complete = false
		}
	}
	return nil
}

// policyBefore returns the event that put the subject's policy into force, as
// of seq; nil if the ledger holds none.
func policyBefore(ctx context.Context, src source, subject string, seq uint64) (*event.Event, error) {
	q := &control.EventsQuery{Filter: query.Filter{ToSeq: seq, Kinds: []event.Kind{event.KindPolicyChanged}}, Reverse: true}
	if name, ok := strings.CutPrefix(subject, "capsule:"); ok {
		q.Filter.Kinds = []event.Kind{event.KindCapsuleLoaded}
		q.Filter.Capsules = []string{name}
	}
	for e, err := range src.events(ctx, q) {
		if err != nil {
			return nil, err
		}
		if report.PolicySubject(e) == subject {
			return e, nil
		}
	}
	return nil, nil
}
