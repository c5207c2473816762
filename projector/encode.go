package projector

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/oklog/ulid/v2"
)

// The encoding of a state is protobuf wire format. A state has exactly one
// encoding: fields in ascending order, zero values left out, lists sorted as
// the comments say. Decode accepts nothing else, so the bytes can be hashed
// and compared. What follows from the rest (counters, the index of calls, what
// remains of a cancel) is not in it.
//
//	State       1 format  2 seq  3 order time  4 boot id  5 Run  6 Handle*(by id)
//	            7 Cancel*(by id)  8 Invocation*(by seq)  9 Capsule*(by name)
//	            10 Policy*(by subject)  11 Totals  12 Refusal*(by code)
//	            format 2: 13 Installed*(by name)
//	Moment      1 seq  2 wall  3 boot  4 boot id
//	Run         1 started  2 version  3 pid  4 uid  5 isolation  6 recovering
//	            7 recovered  8 stopped  9 reason
//	Handle      1 id  2 principal  3 capsule  4 instance  5 call id  6 Actor
//	            7 tier  8 command  9 label  10 cwd  11 phase  12 Orders
//	            13 ring bytes  14 isolation  15 requested  16 decided  17 started
//	            18 adopted  19 ended  20 program  21 shim  22 Exit  23 cause
//	            24 errno  25 detail  26 witness  27 user ns  28 system ns
//	            29 max rss KiB  30 after restart  31 Signal*(by seq)
//	            32 Obligation*(by seq)  33 last seq
//	            format 2: 34 keep stdin open  35 seq of stdin.closed
//	            36 overflow  37 idle ns  38 retention ns  39 process id hash
//	            40 Watch  41 attached  42 expired
//	Watch       1 suffix  2 armed
//	Actor       1 kind  2 uid  3 role
//	Orders      1 lifetime  2 grace  3 orphan
//	Identity    1 pid  2 start ticks  3 pidfs handle  4 pid namespace
//	Exit        1 code (zigzag)  2 signal (zigzag); exactly one
//	Signal      1 seq  2 signal  3 target  4 cause  5 cancel id
//	Obligation  1 cause  2 reason  3 cancel id  4 grace  5 opened  6 gentle  7 kill
//	Step        1 requested  2 sent  3 delivered
//	Cancel      1 id  2 principal  3 capsule  4 Actor  5 call id*  6 reason
//	            7 requested  8 reached
//	Invocation  1 started  2 principal  3 capsule  4 instance  5 call id  6 Actor
//	            7 action
//	Capsule     1 name  2 loaded  3 version  4 manifest sha256  5 module sha256
//	            6 module bytes  7 host process*  8 allow persistent
//	Installed   1 name  2 module sha256  3 finished
//	Policy      1 subject  2 changed  3 sha256
//	Totals      1 … 21, format 2: 22 … 25, in the order of [Totals.fields]
//	Refusal     1 code  2 count

// Formats of the encoding. A state is written in the lowest one that holds it
// all: what an older build has written encodes to the same bytes for ever, and
// an older build refuses by its number only what it would lose.
const (
	formatFirst = 1

	// formatPersistent adds the fields of the persistent tier and their
	// counts, and which capsules were set up.
	formatPersistent = 2

	stateFormat = formatPersistent // the highest that this build reads
)

// StateFormat is the highest format of a state that this build reads: a build
// with a lower one may not be able to open what this one has written.
const StateFormat = stateFormat

// totalsFirst is how many totals format 1 has.
const totalsFirst = 21

// format returns the lowest format that holds the whole state.
func (s *State) format(handles []*Handle) uint64 {
	if len(s.installed) > 0 {
		return formatPersistent
	}
	for _, v := range s.totals.fields()[totalsFirst:] {
		if *v != 0 {
			return formatPersistent
		}
	}
	for _, h := range handles {
		if h.beyondFirst() {
			return formatPersistent
		}
	}
	return formatFirst
}

// beyondFirst tells whether the handle holds what format 1 has no field for.
func (h *Handle) beyondFirst() bool {
	return h.KeepStdinOpen || h.StdinClosedSeq != 0 || h.Overflow != 0 || h.IdleNano != 0 || h.RetentionNano != 0 ||
		len(h.ProcessIDHash) != 0 || h.Watch != nil || h.Attached != 0 || h.Expired != (Moment{})
}

// Encode returns the state's canonical bytes: equal states give equal bytes,
// in every build that reads their format.
func (s *State) Encode() []byte { return s.encode(s.Handles()) }

// encode is Encode with the handles, by id.
func (s *State) encode(handles []*Handle) []byte {
	w := &writer{b: make([]byte, 0, 512+512*len(handles))}
	w.uint(1, s.format(handles))
	w.uint(2, s.seq)
	w.uint(3, s.order)
	w.id(4, s.bootID)
	if s.run != nil {
		w.msg(5, s.run.encode)
	}
	for _, h := range handles {
		w.msg(6, h.encode)
	}
	for _, c := range s.cancelsByID() {
		w.msg(7, c.encode)
	}
	for _, i := range s.invocations {
		w.msg(8, i.encode)
	}
	for _, c := range s.Capsules() {
		w.msg(9, c.encode)
	}
	for _, p := range s.Policies() {
		w.msg(10, p.encode)
	}
	if s.totals != (Totals{}) {
		w.msg(11, s.totals.encode)
	}
	for _, r := range s.Refusals() {
		w.msg(12, r.encode)
	}
	for _, name := range sortedKeys(s.installed) {
		w.msg(13, s.installed[name].encode)
	}
	return w.b
}

// fields lists the totals in the order of their field numbers.
func (t *Totals) fields() []*uint64 {
	return []*uint64{
		&t.Starts, &t.Stops,
		&t.Requested, &t.Granted, &t.Refused,
		&t.Started, &t.Adopted,
		&t.Exited, &t.Aborted, &t.Failed, &t.Lost,
		&t.Released,
		&t.SignalsRequested, &t.SignalsSent,
		&t.Cancels, &t.CancelsFinished,
		&t.Invocations, &t.InvocationsFinished,
		&t.StopsRequested, &t.TimersFired, &t.OrphansSeen,
		&t.Attached, &t.WatchesArmed, &t.WatchesDisarmed,
		&t.StdinsClosed,
	}
}

func (t *Totals) encode(w *writer) {
	for i, v := range t.fields() {
		w.uint(protowire.Number(i+1), *v)
	}
}

func (r *Refusal) encode(w *writer) {
	w.str(1, r.Code)
	w.uint(2, r.Count)
}

func (m Moment) encode(w *writer) {
	w.uint(1, m.Seq)
	w.int(2, m.Wall)
	w.int(3, m.Boot)
	w.id(4, m.BootID)
}

func (r *Run) encode(w *writer) {
	w.moment(1, r.Started)
	w.str(2, r.Version)
	w.uint(3, uint64(r.PID))
	w.uint(4, uint64(r.UID))
	w.str(5, r.Isolation)
	w.bool(6, r.Recovering)
	w.moment(7, r.Recovered)
	w.moment(8, r.Stopped)
	w.str(9, r.Reason)
}

func (h *Handle) encode(w *writer) {
	w.id(1, h.ID)
	w.str(2, h.Principal)
	w.str(3, h.Capsule)
	w.str(4, h.Instance)
	w.str(5, h.CallID)
	w.actor(6, h.Actor)
	w.uint(7, uint64(h.Tier))
	w.str(8, h.Command)
	w.str(9, h.Label)
	w.str(10, h.Cwd)
	w.uint(11, uint64(h.Phase))
	w.orders(12, h.Orders)
	w.uint(13, uint64(h.RingBytes))
	w.str(14, h.Isolation)
	w.moment(15, h.Requested)
	w.moment(16, h.Decided)
	w.moment(17, h.Started)
	w.moment(18, h.Adopted)
	w.moment(19, h.Ended)
	w.identity(20, &h.Program)
	w.identity(21, &h.Shim)
	w.exit(22, h.Exit)
	w.str(23, h.Cause)
	w.uint(24, uint64(h.Errno))
	w.str(25, h.Detail)
	w.exit(26, h.Witness)
	w.int(27, h.Usage.UserNano)
	w.int(28, h.Usage.SystemNano)
	w.uint(29, h.Usage.MaxRSSKiB)
	w.bool(30, h.AfterRestart)
	for i := range h.Signals {
		w.msg(31, h.Signals[i].encode)
	}
	for i := range h.Obligations {
		w.msg(32, h.Obligations[i].encode)
	}
	w.uint(33, h.LastSeq)
	h.encodePersistent(w)
}

// encodePersistent writes what format 2 adds.
func (h *Handle) encodePersistent(w *writer) {
	w.bool(34, h.KeepStdinOpen)
	w.uint(35, h.StdinClosedSeq)
	w.uint(36, uint64(h.Overflow))
	w.int(37, h.IdleNano)
	w.int(38, h.RetentionNano)
	w.bytes(39, h.ProcessIDHash)
	if h.Watch != nil {
		w.msg(40, h.Watch.encode)
	}
	w.uint(41, uint64(h.Attached))
	w.moment(42, h.Expired)
}

func (x *Watch) encode(w *writer) {
	w.str(1, x.Suffix)
	w.moment(2, x.Armed)
}

func (s *Signal) encode(w *writer) {
	w.uint(1, s.Seq)
	w.uint(2, uint64(s.Signal))
	w.uint(3, uint64(s.Target))
	w.str(4, s.Cause)
	w.id(5, s.Cancel)
}

func (o *Obligation) encode(w *writer) {
	w.str(1, o.Cause)
	w.str(2, o.Reason)
	w.id(3, o.Cancel)
	w.int(4, o.GraceNano)
	w.moment(5, o.Opened)
	w.step(6, &o.Gentle)
	w.step(7, &o.Kill)
}

func (c *Cancel) encode(w *writer) {
	w.id(1, c.ID)
	w.str(2, c.Principal)
	w.str(3, c.Capsule)
	w.actor(4, c.Actor)
	w.strs(5, c.CallIDs)
	w.str(6, c.Reason)
	w.moment(7, c.Requested)
	w.uint(8, uint64(c.Reached))
}

func (i *Invocation) encode(w *writer) {
	w.moment(1, i.Started)
	w.str(2, i.Principal)
	w.str(3, i.Capsule)
	w.str(4, i.Instance)
	w.str(5, i.CallID)
	w.actor(6, i.Actor)
	w.str(7, i.Action)
}

func (c *Capsule) encode(w *writer) {
	w.str(1, c.Name)
	w.moment(2, c.Loaded)
	w.str(3, c.Version)
	w.bytes(4, c.ManifestSHA256)
	w.bytes(5, c.ModuleSHA256)
	w.uint(6, c.ModuleBytes)
	w.strs(7, c.HostProcess)
	w.bool(8, c.AllowPersistent)
}

func (i *Installed) encode(w *writer) {
	w.str(1, i.Name)
	w.bytes(2, i.ModuleSHA256)
	w.moment(3, i.Finished)
}

func (p *Policy) encode(w *writer) {
	w.str(1, p.Subject)
	w.moment(2, p.Changed)
	w.bytes(3, p.SHA256)
}

// cancelsByID is the order of the encoding.
func (s *State) cancelsByID() []*Cancel {
	return sortedBy(s.Cancels(), func(c *Cancel) ulid.ULID { return c.ID })
}
