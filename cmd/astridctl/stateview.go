package main

import (
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/projector"
)

// stateFields are the fields of stateView's JSON.
var stateFields = []string{"seq", "order_time", "run", "usage", "totals", "refusals", "handles", "invocations", "cancels", "capsules", "policies"}

// stateView is the JSON of a state, described in docs/CLI-JSON.md.
type stateView struct {
	Seq         uint64            `json:"seq"`
	OrderTime   *time.Time        `json:"order_time"`
	Run         *runView          `json:"run"`
	Usage       []control.Usage   `json:"usage"`
	Totals      totalsView        `json:"totals"`
	Refusals    map[string]uint64 `json:"refusals"`
	Handles     []control.Handle  `json:"handles"`
	Invocations []callView        `json:"invocations"`
	Cancels     []cancelView      `json:"cancels"`
	Capsules    []capsuleView     `json:"capsules"`
	Policies    []policyView      `json:"policies"`
}

type runView struct {
	StartedSeq uint64     `json:"started_seq"`
	Started    *time.Time `json:"started"`
	Version    string     `json:"version"`
	PID        uint32     `json:"pid"`
	UID        uint32     `json:"uid"`
	Isolation  string     `json:"isolation"`
	Recovering bool       `json:"recovering"`
	StoppedSeq uint64     `json:"stopped_seq"`
	Reason     string     `json:"reason"`
}

type totalsView struct {
	Starts      uint64 `json:"starts"`
	Stops       uint64 `json:"stops"`
	Requested   uint64 `json:"requested"`
	Granted     uint64 `json:"granted"`
	Refused     uint64 `json:"refused"`
	Started     uint64 `json:"started"`
	Adopted     uint64 `json:"adopted"`
	Exited      uint64 `json:"exited"`
	Aborted     uint64 `json:"aborted"`
	Failed      uint64 `json:"failed"`
	Lost        uint64 `json:"lost"`
	Released    uint64 `json:"released"`
	Signals     uint64 `json:"signals"`
	Cancels     uint64 `json:"cancels"`
	Invocations uint64 `json:"invocations"`

	Attached        uint64 `json:"attached"`
	WatchesArmed    uint64 `json:"watches_armed"`
	WatchesDisarmed uint64 `json:"watches_disarmed"`
	StdinsClosed    uint64 `json:"stdins_closed"`
	TimersFired     uint64 `json:"timers_fired"`
	StopsRequested  uint64 `json:"stops_requested"`
}

type callView struct {
	Seq       uint64 `json:"seq"`
	Principal string `json:"principal"`
	Capsule   string `json:"capsule"`
	Instance  string `json:"instance"`
	CallID    string `json:"call_id"`
	Action    string `json:"action"`
}

type cancelView struct {
	ID        string   `json:"id"`
	Seq       uint64   `json:"seq"`
	Principal string   `json:"principal"`
	Capsule   string   `json:"capsule"`
	CallIDs   []string `json:"call_ids"`
	Reached   uint32   `json:"reached"`
	Remaining []string `json:"remaining"`
}

type capsuleView struct {
	Name         string   `json:"name"`
	Version      string   `json:"version"`
	LoadedSeq    uint64   `json:"loaded_seq"`
	ModuleSHA256 string   `json:"module_sha256"`
	HostProcess  []string `json:"host_process"`
}

type policyView struct {
	Subject    string `json:"subject"`
	ChangedSeq uint64 `json:"changed_seq"`
	SHA256     string `json:"sha256"`
}

// stateJSON is the whole of a state.
func stateJSON(s *projector.State) *stateView {
	t := s.Totals()
	v := &stateView{
		Seq: s.Seq(), Run: runJSON(s), Usage: append([]control.Usage{}, control.UsageOf(s)...),
		Totals: totalsView{
			Starts: t.Starts, Stops: t.Stops, Requested: t.Requested, Granted: t.Granted, Refused: t.Refused,
			Started: t.Started, Adopted: t.Adopted, Exited: t.Exited, Aborted: t.Aborted, Failed: t.Failed, Lost: t.Lost,
			Released: t.Released, Signals: t.SignalsRequested, Cancels: t.Cancels, Invocations: t.Invocations,
			Attached: t.Attached, WatchesArmed: t.WatchesArmed, WatchesDisarmed: t.WatchesDisarmed, StdinsClosed: t.StdinsClosed,
			TimersFired: t.TimersFired, StopsRequested: t.StopsRequested,
		},
		Refusals: map[string]uint64{}, Handles: control.TableOf(s, true).Handles,
		Invocations: []callView{}, Cancels: []cancelView{}, Capsules: []capsuleView{}, Policies: []policyView{},
	}
	if s.Seq() > 0 {
		at := time.UnixMilli(int64(s.OrderTime())).UTC()
		v.OrderTime = &at
	}
	for _, r := range s.Refusals() {
		v.Refusals[r.Code] = r.Count
	}
	stateListsJSON(s, v)
	return v
}

func stateListsJSON(s *projector.State, v *stateView) {
	for _, c := range s.Invocations() {
		v.Invocations = append(v.Invocations, callView{c.Started.Seq, c.Principal, c.Capsule, c.Instance, c.CallID, c.Action})
	}
	for _, c := range s.Cancels() {
		v.Cancels = append(v.Cancels, cancelView{c.ID.String(), c.Requested.Seq, c.Principal, c.Capsule, append([]string{}, c.CallIDs...), c.Reached, idTexts(c.Remaining)})
	}
	for _, c := range s.Capsules() {
		v.Capsules = append(v.Capsules, capsuleView{c.Name, c.Version, c.Loaded.Seq, fmt.Sprintf("%x", c.ModuleSHA256), append([]string{}, c.HostProcess...)})
	}
	for _, p := range s.Policies() {
		v.Policies = append(v.Policies, policyView{p.Subject, p.Changed.Seq, fmt.Sprintf("%x", p.SHA256)})
	}
}

func idTexts(ids []ulid.ULID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id.String()
	}
	return out
}

func runJSON(s *projector.State) *runView {
	r, ok := s.Run()
	if !ok {
		return nil
	}
	started := time.Unix(0, r.Started.Wall).UTC()
	return &runView{r.Started.Seq, &started, r.Version, r.PID, r.UID, r.Isolation, r.Recovering, r.Stopped.Seq, r.Reason}
}
