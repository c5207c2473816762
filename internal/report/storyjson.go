package report

import (
	"encoding/hex"
	"time"

	"github.com/astrid-os/processledger/ledger/event"
)

// StoryView is a story's JSON, described in docs/CLI-JSON.md. Fields are added
// and never renamed or removed.
type StoryView struct {
	Handle     string         `json:"handle"`
	Status     string         `json:"status"`
	Principal  string         `json:"principal"`
	Capsule    string         `json:"capsule"`
	Instance   string         `json:"instance"`
	CallID     string         `json:"call_id"`
	Tier       string         `json:"tier"`
	Command    string         `json:"command"`
	Args       []string       `json:"args"`
	ArgsCut    bool           `json:"args_cut"`
	Decision   *DecisionView  `json:"decision"`
	Requested  *time.Time     `json:"requested"`
	Started    *time.Time     `json:"started"`
	Ended      *time.Time     `json:"ended"`
	RanNano    *int64         `json:"ran_ns"`
	Exit       *ExitView      `json:"exit"`
	Cause      string         `json:"cause"`
	Executable *FileView      `json:"executable"`
	Stdout     *StreamView    `json:"stdout"`
	Stderr     *StreamView    `json:"stderr"`
	Released   bool           `json:"released"`
	Events     []*event.Event `json:"events"`
}

// DecisionView is a decision's JSON.
type DecisionView struct {
	Outcome string      `json:"outcome"`
	Code    string      `json:"code"`
	Rule    string      `json:"rule"`
	Detail  string      `json:"detail"`
	Quotas  []QuotaView `json:"quotas"`
}

// QuotaView is the JSON of a quota as the decision saw it.
type QuotaView struct {
	Scope string `json:"scope"`
	Used  uint32 `json:"used"`
	Cap   uint32 `json:"cap"`
}

// ExitView is an exit's JSON: exactly one field is not null.
type ExitView struct {
	Code   *int32 `json:"code"`
	Signal *int32 `json:"signal"`
}

// FileView is the JSON of an executable.
type FileView struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
}

// StreamView is the JSON of what was written on a stream.
type StreamView struct {
	Bytes   uint64 `json:"bytes"`
	SHA256  string `json:"sha256"`
	Dropped uint64 `json:"dropped"`
}

// View returns the story's JSON form.
func (s *Story) View() *StoryView {
	v := &StoryView{
		Handle: s.Handle.String(), Status: s.Status(), Principal: s.Scope.Principal, Capsule: s.Scope.Capsule,
		Instance: s.Scope.Instance, CallID: s.Scope.CallID, Args: []string{}, Decision: s.decisionView(),
		Requested: utc(s.Requested()), Started: utc(s.StartedAt()), Ended: utc(s.EndedAt()),
		Released: s.Released != nil, Events: s.Events,
	}
	if r := s.Request; r != nil {
		v.Tier, v.Command, v.ArgsCut = r.Tier.String(), r.Command, r.ArgsCut
		v.Args = append(v.Args, r.Args...)
	}
	if ran, ok := s.Ran(); ok {
		n := int64(ran)
		v.RanNano = &n
	}
	if b := s.Started; b != nil {
		v.Executable = &FileView{b.Executable.Path, hex.EncodeToString(b.Executable.SHA256)}
	}
	s.endView(v)
	return v
}

func (s *Story) endView(v *StoryView) {
	if b := s.Exited; b != nil {
		v.Exit, v.Cause = &ExitView{b.Exit.Code, b.Exit.Signal}, b.Cause
		v.Stdout, v.Stderr = streamView(b.Stdout), streamView(b.Stderr)
	}
}

func streamView(x event.StreamSummary) *StreamView {
	return &StreamView{x.Bytes, hex.EncodeToString(x.SHA256), x.Dropped}
}

func (s *Story) decisionView() *DecisionView {
	d := s.Decision
	if d == nil {
		return nil
	}
	v := &DecisionView{Outcome: d.Outcome.String(), Code: d.Code, Rule: d.Rule, Detail: d.Detail, Quotas: []QuotaView{}}
	for _, q := range d.Quotas {
		v.Quotas = append(v.Quotas, QuotaView{q.Scope, q.Used, q.Cap})
	}
	return v
}

// utc returns t in UTC, nil for the zero time.
func utc(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
