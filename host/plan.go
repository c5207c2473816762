package host

import (
	"io"
	"strings"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/host/policy"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// Standing orders and ring sizes of the ephemeral tier.
const (
	orphanNano = 30e9     // how long an ephemeral process may outlive the daemon's connection
	graceNano  = 5e9      // between TERM and KILL: the contract's default stop grace
	syncRing   = 8 << 20  // bytes of output a stream that a sync spawn keeps
	ring       = 1 << 20  // the contract's default ring
	headerRoom = 256      // bytes of an encoded event kept for what the committer fills in
	textRoom   = 4 << 10  // most bytes of a command or cwd in an event
	keysRoom   = 24 << 10 // most bytes of all env keys together in an event
	nameRoom   = 256      // most bytes of a principal, capsule, instance or call id in an event
)

// plan is a request that has been checked as far as possible without the
// state: all that a decision needs, as plain values. The decision runs in the
// committer and must be pure.
type plan struct {
	id      ulid.ULID
	scope   event.Scope
	tier    event.Tier
	request *event.SpawnRequested

	// refusal is why the request is refused whatever the quotas say; nil if
	// they alone decide.
	refusal *Error
	rule    string

	quotas []quota
	orders event.Orders
	ring   uint32
	mode   string // isolation
	spec   act.Spec

	// Of a persistent process: what it is granted, and the hash of its id.
	terms  *terms
	idHash []byte
}

// quota is a bound, where its use stands in the state, and what a spawn is
// refused with that finds it used up.
type quota struct {
	scope string
	cap   uint32
	used  func(*projector.State) uint32
	code  Code
}

// plan checks a request: policy and gate, then validation, so that a caller
// who is denied learns nothing of paths. It reads the disk for the working
// directory and the places of files, and nothing else outside of memory.
func (h *Host) plan(c Caller, r *Request, tier event.Tier) *plan {
	p := &plan{id: newID(), scope: c.scope(), tier: tier, mode: h.isolation}
	p.scope.Handle = p.id
	p.request = h.requested(p.scope, r, tier)
	rule, refusal := h.admit(c, r, tier)
	if refusal != nil {
		return p.refuse(rule, refusal)
	}
	p.rule = rule
	if tier == event.TierPersistent {
		if refusal := validTerms(r); refusal != nil {
			return p.refuse("validation", refusal)
		}
	}
	if refusal := validate(r); refusal != nil {
		return p.refuse("validation", refusal)
	}
	root, err := h.workspace(c)
	if err != nil {
		return p.refuse("validation", errorf(Unknown, "%v", err))
	}
	dir, refusal := resolveCwd(root, r.Cwd)
	if refusal != nil {
		return p.refuse("validation", refusal)
	}
	if refusal := h.placeable(r.Files, root); refusal != nil {
		return p.refuse("validation", refusal)
	}
	h.grantable(p, c, r, root, dir)
	return p
}

func (p *plan) refuse(rule string, err *Error) *plan {
	p.rule, p.refusal = rule, err
	return p
}

// admit runs the checks that come before all others: what this machine can do,
// the principal's policy, the capsule's gate, and what a process that outlives
// its call needs beside. The rule is what allowed the command, or what it
// lacked.
func (h *Host) admit(c Caller, r *Request, tier event.Tier) (rule string, refusal *Error) {
	persistent := tier == event.TierPersistent
	if h.unavailable != "" && !persistent {
		return "isolation: " + h.isolation, errorf(Unknown, "nothing can be run here: %s", h.unavailable)
	}
	rule, ok := h.policy.Check(c.Principal, c.Capsule, r.Cmd)
	if persistent && c.Principal == "" {
		// Nobody's policy can deny; that there is nobody is told below, to a
		// capsule that may ask.
		rule, ok = h.policy.Gate().Allow(c.Capsule, r.Cmd)
	}
	switch {
	case !ok:
		return rule, errorf(CapabilityDenied, "capsule %.64q may not run %.64q", c.Capsule, r.Cmd)
	case persistent:
		return h.admitPersistent(c, rule)
	}
	return rule, nil
}

// admitPersistent is the rest of admit for what its command's rule admits.
func (h *Host) admitPersistent(c Caller, command string) (rule string, refusal *Error) {
	rule, ok := h.policy.Gate().AllowPersistent(c.Capsule)
	switch {
	case !ok:
		return rule, errorf(CapabilityDenied, "capsule %.64q may not start persistent processes", c.Capsule)
	case !policy.Authenticated(c.Principal):
		return "principal: not authenticated", errorf(PersistUnsupported, "a persistent process needs an authenticated principal to own it")
	case h.unavailable != "":
		return "isolation: " + h.isolation, errorf(PersistUnsupported, "nothing can be run here: %s", h.unavailable)
	}
	return command + "; " + rule, nil
}

// grantable fills in what a granted spawn needs.
func (h *Host) grantable(p *plan, c Caller, r *Request, root, dir string) {
	q := h.policy.Quotas(c.Principal)
	p.orders = event.Orders{GraceNano: graceNano, OrphanNano: h.orphan}
	p.ring = ring
	switch p.tier {
	case event.TierSync:
		p.orders.LifetimeNano = q.MaxTimeout.Nanoseconds()
		p.ring = syncRing
		p.quotas = []quota{{"principal-sync:" + c.Principal, q.Sync, func(s *projector.State) uint32 {
			return s.LivePrincipal(c.Principal).Sync
		}, Quota}}
	case event.TierPersistent:
		t := termsOf(r)
		p.terms, p.ring, p.idHash = &t, t.ring, h.ids.hash(h.ids.of(p.id))
		p.orders = event.Orders{LifetimeNano: t.lifetime.Nanoseconds(), GraceNano: graceNano}
		p.quotas = append(h.concurrent(c, q), retained(c)...)
	default:
		p.quotas = h.concurrent(c, q)
	}
	p.spec = act.Spec{
		ID: p.id, Argv: append([]string{r.Cmd}, r.Args...), Path: r.Cmd, Env: environ(h.lookup, r.Env, r.Files), Dir: dir,
		RingBytes: p.ring, Orders: p.orders, Tier: p.tier, Isolation: p.mode, Files: actFiles(r.Files), Workspace: root,
	}
	if r.HasStdin || len(r.Stdin) > 0 {
		p.spec.Stdin = append([]byte{}, r.Stdin...) // never nil: an empty prelude is one
	}
	if t := p.terms; t != nil {
		p.spec.KeepStdin, p.spec.Overflow = t.keepStdin, t.overflow
	}
}

// concurrent are the quotas on processes that run beside their caller, in both
// tiers together.
func (h *Host) concurrent(c Caller, q policy.Quotas) []quota {
	return []quota{
		{"principal:" + c.Principal, q.Background, func(s *projector.State) uint32 {
			return s.LivePrincipal(c.Principal).Concurrent()
		}, Quota},
		{"capsule:" + c.Capsule, h.policy.PerCapsule(), func(s *projector.State) uint32 {
			return s.LiveCapsule(c.Capsule).Concurrent()
		}, Quota},
	}
}

// retained are the bounds of the registry: ids of persistent processes that
// live, or have ended and are not released.
func retained(c Caller) []quota {
	return []quota{
		{"registry:" + c.Principal + "/" + c.Capsule, policy.RetainedPerPrincipal, func(s *projector.State) uint32 {
			return s.HeldPair(c.Principal, c.Capsule).Persistent
		}, RegistryFull},
		{"registry-capsule:" + c.Capsule, policy.RetainedPerCapsule, func(s *projector.State) uint32 {
			return s.HeldCapsule(c.Capsule).Persistent
		}, RegistryFull},
	}
}

// decide is the closure of the decision: the request and what became of it, in
// one commit. It is pure.
func (p *plan) decide(tip *projector.State, _ ledger.Header) ([]*event.Event, error) {
	return []*event.Event{
		{Scope: p.scope, Body: p.request},
		{Scope: p.decidedScope(), Body: p.decision(tip)},
	}, nil
}

// decidedScope is the scope of the decision, which is the host's.
func (p *plan) decidedScope() event.Scope {
	s := p.scope
	s.Actor = hostActor
	return s
}

func (p *plan) decision(tip *projector.State) *event.SpawnDecided {
	d := &event.SpawnDecided{Outcome: event.OutcomeRefused, Rule: valid(p.rule), Isolation: p.mode, Cwd: valid(p.spec.Dir)}
	refusal := p.refusal
	if refusal == nil {
		d.Quotas, refusal = p.seen(tip)
		if refusal != nil {
			d.Rule = "quota"
			if refusal.Code == RegistryFull {
				d.Rule = "registry"
			}
		}
	}
	if refusal != nil {
		d.Code, d.Detail = refusal.Code.String(), valid(refusal.Detail)
		return d
	}
	orders := p.orders
	d.Outcome, d.Orders, d.RingBytes = event.OutcomeGranted, &orders, p.ring
	if t := p.terms; t != nil {
		d.ProcessIDHash, d.Label = p.idHash, t.label
		d.KeepStdinOpen, d.Overflow = t.keepStdin, t.overflow
		d.IdleNano, d.RetentionNano = t.idle.Nanoseconds(), t.retention.Nanoseconds()
	}
	return d
}

// seen reads the quotas as they stand, all of them, also after one is found to
// be used up.
func (p *plan) seen(s *projector.State) (seen []event.QuotaSeen, refusal *Error) {
	for _, q := range p.quotas {
		used := q.used(s)
		seen = append(seen, event.QuotaSeen{Scope: q.scope, Used: used, Cap: q.cap})
		if used >= q.cap && refusal == nil {
			refusal = errorf(q.code, "%s has %d of %d", q.scope, used, q.cap)
		}
	}
	return seen, refusal
}

// requested is the request as the ledger keeps it: everything but secrets, cut
// to fit one event.
func (h *Host) requested(scope event.Scope, r *Request, tier event.Tier) *event.SpawnRequested {
	b := &event.SpawnRequested{
		Tier: tier, Command: cut(r.Cmd, textRoom), ArgsCount: uint32(len(r.Args)),
		StdinBytes: uint64(len(r.Stdin)), Limits: r.Limits, EnvKeys: envKeys(r.Env), Files: h.namedFiles(r.Files),
	}
	if r.Cwd != nil {
		b.Cwd = cut(*r.Cwd, textRoom)
	}
	askedFor(b, r)
	if r.HasStdin || len(r.Stdin) > 0 {
		b.StdinDigest = h.digest(func(w io.Writer) { w.Write(r.Stdin) })
	}
	for _, a := range r.Args {
		b.ArgsBytes += uint64(len(a))
	}
	unread(b, r.Unread)
	room := event.MaxEncoded - headerRoom - len(event.Encode(&event.Event{Scope: scope, Body: b}))
	b.Args, b.ArgsCut = fitArgs(r.Args, room)
	switch {
	case r.Unread != nil && r.Unread.ArgsCount > 0:
		b.ArgsCut = true // and nobody has read all that a digest would be of
	case b.ArgsCut:
		b.ArgsDigest = h.digest(func(w io.Writer) {
			for _, a := range r.Args {
				io.WriteString(w, a+"\x00")
			}
		})
	}
	return b
}

// unread corrects the figures of a request of which the binding left something
// out.
func unread(b *event.SpawnRequested, u *Unread) {
	if u == nil {
		return
	}
	if u.ArgsCount > 0 {
		b.ArgsCount, b.ArgsBytes = u.ArgsCount, u.ArgsBytes
	}
	if u.StdinBytes > 0 {
		b.StdinBytes, b.StdinDigest = u.StdinBytes, nil
	}
}

// fitArgs keeps the arguments that fit, the last one cut at a rune. A digest
// and the mark of the cut need some of the room.
func fitArgs(args []string, room int) (kept []string, cutShort bool) {
	const perArg = 4 // tag and length
	whole := 0
	for _, a := range args {
		whole += len(valid(a)) + perArg
	}
	if whole <= room {
		for _, a := range args {
			kept = append(kept, valid(a))
		}
		return kept, false
	}
	room -= 64
	for _, a := range args {
		if room <= perArg {
			break
		}
		a = cut(a, room-perArg)
		kept = append(kept, a)
		room -= len(a) + perArg
	}
	return kept, true
}

// envKeys are the names of the variables, never their values. Of a request
// that is refused for too many of them it keeps the first.
func envKeys(env []EnvVar) []string {
	var keys []string
	total := 0
	for _, v := range env {
		key := cut(v.Key, textRoom)
		if total += len(key) + 4; total > keysRoom+4*MaxEnvEntries {
			break
		}
		keys = append(keys, key)
	}
	return keys
}

// cut shortens s to at most n bytes without splitting a rune.
func cut(s string, n int) string {
	if s = valid(s); len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// valid makes text of s that an event can hold.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// scope is the caller as the scope of an event.
func (c Caller) scope() event.Scope {
	a := c.Actor
	if a == (event.Actor{}) {
		a = event.Actor{Kind: event.ActorGuest}
	}
	return event.Scope{
		Principal: cut(c.Principal, nameRoom), Capsule: cut(c.Capsule, nameRoom),
		Instance: cut(c.Instance, nameRoom), CallID: cut(c.CallID, nameRoom), Actor: a,
	}
}
