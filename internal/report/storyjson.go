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
	Label      string         `json:"label"`
	Files      []InjectedView `json:"files"`
	Persistent *HoldingView   `json:"persistent"`
	Events     []*event.Event `json:"events"`
}

// InjectedView is the JSON of a file that came with the spawn: one of EnvKey and
// Path is set.
type InjectedView struct {
	EnvKey string `json:"env_key"`
	Path   string `json:"path"`
	Bytes  uint64 `json:"bytes"`
	Digest string `json:"digest"`
}

// HoldingView is the JSON of what only a persistent process has.
type HoldingView struct {
	ProcessIDHash string  `json:"process_id_hash"`
	KeepStdinOpen bool    `json:"keep_stdin_open"`
	StdinClosed   *string `json:"stdin_closed"` // the reason
	StdinBytes    uint64  `json:"stdin_bytes"`
	Overflow      string  `json:"overflow"`
	RingBytes     uint32  `json:"ring_bytes"`
	LifetimeNano  int64   `json:"lifetime_ns"`
	IdleNano      int64   `json:"idle_timeout_ns"`
	RetentionNano int64   `json:"retention_ns"`
	Attached      int     `json:"attached"`
	Watch         *string `json:"watch"` // the suffix
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
		Released: s.Released != nil, Label: s.Label(), Files: []InjectedView{}, Events: s.Events,
	}
	if r := s.Request; r != nil {
		v.Tier, v.Command, v.ArgsCut = r.Tier.String(), r.Command, r.ArgsCut
		v.Args = append(v.Args, r.Args...)
		for _, f := range r.Files {
			v.Files = append(v.Files, InjectedView{f.EnvKey, f.Path, f.Bytes, hex.EncodeToString(f.Digest)})
		}
	}
	v.Persistent = s.holdingView()
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

// holdingView is nil for other tiers and for refusals.
func (s *Story) holdingView() *HoldingView {
	d := s.Decision
	if d == nil || d.Outcome != event.OutcomeGranted || s.Request == nil || s.Request.Tier != event.TierPersistent {
		return nil
	}
	v := &HoldingView{
		ProcessIDHash: hex.EncodeToString(d.ProcessIDHash), KeepStdinOpen: d.KeepStdinOpen,
		Overflow: max(d.Overflow, event.OverflowDropOldest).String(), RingBytes: d.RingBytes,
		IdleNano: d.IdleNano, RetentionNano: d.RetentionNano, Attached: s.Attached,
	}
	if d.Orders != nil {
		v.LifetimeNano = d.Orders.LifetimeNano
	}
	if b := s.StdinClosed; b != nil {
		v.StdinClosed, v.StdinBytes = &b.Reason, b.Bytes
	}
	if s.Watch != nil {
		v.Watch = &s.Watch.Suffix
	}
	return v
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
