package projector

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/astrid-os/processledger/ledger/event"
)

// field takes in one field of a state; the numbers are drawn in encode.go.
func (s *State) field(r *reader, f field) {
	switch f.num {
	case 2:
		s.seq = f.v
	case 3:
		s.order = f.v
	case 4:
		s.bootID = f.id()
	case 5:
		s.run = new(Run)
		r.each(f.raw, s.run.field)
	case 6:
		h := new(Handle)
		r.each(f.raw, h.field)
		s.handles[h.ID] = h
	case 7:
		c := new(Cancel)
		r.each(f.raw, c.field)
		s.cancels[c.ID] = c
	case 8:
		i := new(Invocation)
		r.each(f.raw, i.field)
		s.invocations = append(s.invocations, i)
	case 9:
		c := new(Capsule)
		r.each(f.raw, c.field)
		s.capsules[c.Name] = c
	case 10:
		p := new(Policy)
		r.each(f.raw, p.field)
		s.policies[p.Subject] = p
	case 11:
		r.each(f.raw, s.totals.field)
	case 12:
		var refusal Refusal
		r.each(f.raw, refusal.field)
		s.refused[refusal.Code] = refusal.Count
	case 13:
		i := new(Installed)
		r.each(f.raw, i.field)
		s.installed[i.Name] = i
	}
}

func (t *Totals) field(_ *reader, f field) {
	if all := t.fields(); int(f.num) <= len(all) {
		*all[f.num-1] = f.v
	}
}

func (r *Refusal) field(_ *reader, f field) {
	switch f.num {
	case 1:
		r.Code = f.str()
	case 2:
		r.Count = f.v
	}
}

func (m *Moment) field(_ *reader, f field) {
	switch f.num {
	case 1:
		m.Seq = f.v
	case 2:
		m.Wall = f.int()
	case 3:
		m.Boot = f.int()
	case 4:
		m.BootID = f.id()
	}
}

func (x *Run) field(r *reader, f field) {
	switch f.num {
	case 1:
		r.each(f.raw, x.Started.field)
	case 2:
		x.Version = f.str()
	case 3:
		x.PID = uint32(f.v)
	case 4:
		x.UID = uint32(f.v)
	case 5:
		x.Isolation = f.str()
	case 6:
		x.Recovering = f.bool()
	case 7:
		r.each(f.raw, x.Recovered.field)
	case 8:
		r.each(f.raw, x.Stopped.field)
	case 9:
		x.Reason = f.str()
	}
}

// field takes in what was asked for; granted and ended read the rest.
func (h *Handle) field(r *reader, f field) {
	switch f.num {
	case 1:
		h.ID = f.id()
	case 2:
		h.Principal = f.str()
	case 3:
		h.Capsule = f.str()
	case 4:
		h.Instance = f.str()
	case 5:
		h.CallID = f.str()
	case 6:
		r.each(f.raw, actorField(&h.Actor))
	case 7:
		h.Tier = event.Tier(f.v)
	case 8:
		h.Command = f.str()
	case 9:
		h.Label = f.str()
	case 10:
		h.Cwd = f.str()
	case 11:
		h.Phase = Phase(f.v)
	case 33:
		h.LastSeq = f.v
	default:
		h.grantedField(r, f)
	}
}

func (h *Handle) grantedField(r *reader, f field) {
	switch f.num {
	case 12:
		r.each(f.raw, ordersField(&h.Orders))
	case 13:
		h.RingBytes = uint32(f.v)
	case 14:
		h.Isolation = f.str()
	case 15:
		r.each(f.raw, h.Requested.field)
	case 16:
		r.each(f.raw, h.Decided.field)
	case 17:
		r.each(f.raw, h.Started.field)
	case 18:
		r.each(f.raw, h.Adopted.field)
	case 19:
		r.each(f.raw, h.Ended.field)
	case 20:
		r.each(f.raw, identityField(&h.Program))
	case 21:
		r.each(f.raw, identityField(&h.Shim))
	default:
		h.endedField(r, f)
	}
}

func (h *Handle) endedField(r *reader, f field) {
	switch f.num {
	case 22:
		h.Exit = new(event.Exit)
		r.each(f.raw, exitField(h.Exit))
	case 23:
		h.Cause = f.str()
	case 24:
		h.Errno = uint32(f.v)
	case 25:
		h.Detail = f.str()
	case 26:
		h.Witness = new(event.Exit)
		r.each(f.raw, exitField(h.Witness))
	case 27:
		h.Usage.UserNano = f.int()
	case 28:
		h.Usage.SystemNano = f.int()
	case 29:
		h.Usage.MaxRSSKiB = f.v
	case 30:
		h.AfterRestart = f.bool()
	case 31:
		var sig Signal
		r.each(f.raw, sig.field)
		h.Signals = append(h.Signals, sig)
	case 32:
		var o Obligation
		r.each(f.raw, o.field)
		h.Obligations = append(h.Obligations, o)
	default:
		h.persistentField(r, f)
	}
}

func (h *Handle) persistentField(r *reader, f field) {
	switch f.num {
	case 34:
		h.KeepStdinOpen = f.bool()
	case 35:
		h.StdinClosed, h.StdinClosedSeq = f.v != 0, f.v
	case 36:
		h.Overflow = event.Overflow(f.v)
	case 37:
		h.IdleNano = f.int()
	case 38:
		h.RetentionNano = f.int()
	case 39:
		h.ProcessIDHash = f.bytes()
	case 40:
		h.Watch = new(Watch)
		r.each(f.raw, h.Watch.field)
	case 41:
		h.Attached = uint32(f.v)
	case 42:
		r.each(f.raw, h.Expired.field)
	}
}

func (x *Watch) field(r *reader, f field) {
	switch f.num {
	case 1:
		x.Suffix = f.str()
	case 2:
		r.each(f.raw, x.Armed.field)
	}
}

func (s *Signal) field(_ *reader, f field) {
	switch f.num {
	case 1:
		s.Seq = f.v
	case 2:
		s.Signal = uint32(f.v)
	case 3:
		s.Target = event.SignalTarget(f.v)
	case 4:
		s.Cause = f.str()
	case 5:
		s.Cancel = f.id()
	}
}

func (o *Obligation) field(r *reader, f field) {
	switch f.num {
	case 1:
		o.Cause = f.str()
	case 2:
		o.Reason = f.str()
	case 3:
		o.Cancel = f.id()
	case 4:
		o.GraceNano = f.int()
	case 5:
		r.each(f.raw, o.Opened.field)
	case 6:
		r.each(f.raw, o.Gentle.field)
	case 7:
		r.each(f.raw, o.Kill.field)
	}
}

func (st *Step) field(r *reader, f field) {
	switch f.num {
	case 1:
		st.Requested = f.v
	case 2:
		r.each(f.raw, st.Sent.field)
	case 3:
		st.Delivered = f.bool()
	}
}

func (c *Cancel) field(r *reader, f field) {
	switch f.num {
	case 1:
		c.ID = f.id()
	case 2:
		c.Principal = f.str()
	case 3:
		c.Capsule = f.str()
	case 4:
		r.each(f.raw, actorField(&c.Actor))
	case 5:
		c.CallIDs = append(c.CallIDs, f.str())
	case 6:
		c.Reason = f.str()
	case 7:
		r.each(f.raw, c.Requested.field)
	case 8:
		c.Reached = uint32(f.v)
	}
}

func (i *Invocation) field(r *reader, f field) {
	switch f.num {
	case 1:
		r.each(f.raw, i.Started.field)
	case 2:
		i.Principal = f.str()
	case 3:
		i.Capsule = f.str()
	case 4:
		i.Instance = f.str()
	case 5:
		i.CallID = f.str()
	case 6:
		r.each(f.raw, actorField(&i.Actor))
	case 7:
		i.Action = f.str()
	}
}

func (c *Capsule) field(r *reader, f field) {
	switch f.num {
	case 1:
		c.Name = f.str()
	case 2:
		r.each(f.raw, c.Loaded.field)
	case 3:
		c.Version = f.str()
	case 4:
		c.ManifestSHA256 = f.bytes()
	case 5:
		c.ModuleSHA256 = f.bytes()
	case 6:
		c.ModuleBytes = f.v
	case 7:
		c.HostProcess = append(c.HostProcess, f.str())
	case 8:
		c.AllowPersistent = f.bool()
	}
}

func (i *Installed) field(r *reader, f field) {
	switch f.num {
	case 1:
		i.Name = f.str()
	case 2:
		i.ModuleSHA256 = f.bytes()
	case 3:
		r.each(f.raw, i.Finished.field)
	}
}

func (p *Policy) field(r *reader, f field) {
	switch f.num {
	case 1:
		p.Subject = f.str()
	case 2:
		r.each(f.raw, p.Changed.field)
	case 3:
		p.SHA256 = f.bytes()
	}
}

func actorField(a *event.Actor) func(*reader, field) {
	return func(_ *reader, f field) {
		switch f.num {
		case 1:
			a.Kind = event.ActorKind(f.v)
		case 2:
			a.UID = uint32(f.v)
		case 3:
			a.Role = f.str()
		}
	}
}

func ordersField(o *event.Orders) func(*reader, field) {
	return func(_ *reader, f field) {
		switch f.num {
		case 1:
			o.LifetimeNano = f.int()
		case 2:
			o.GraceNano = f.int()
		case 3:
			o.OrphanNano = f.int()
		}
	}
}

func identityField(i *event.Identity) func(*reader, field) {
	return func(_ *reader, f field) {
		switch f.num {
		case 1:
			i.PID = uint32(f.v)
		case 2:
			i.StartTicks = f.v
		case 3:
			i.PidfsHandle = f.bytes()
		case 4:
			i.PidNamespace = f.v
		}
	}
}

func exitField(e *event.Exit) func(*reader, field) {
	return func(_ *reader, f field) {
		v := int32(protowire.DecodeZigZag(f.v))
		switch f.num {
		case 1:
			e.Code = &v
		case 2:
			e.Signal = &v
		}
	}
}
