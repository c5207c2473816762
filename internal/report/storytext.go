package report

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/ledger/event"
)

// Look is how a report is to be shown.
type Look struct {
	Palette ui.Palette
	Zone    *time.Location
}

// Write writes the story for people: first the facts, then what happened in
// order.
func (s *Story) Write(w io.Writer, look Look) error {
	title := fmt.Sprintf("Process %s %s", s.Handle, ui.Safe(s.End()))
	if _, err := fmt.Fprintf(w, "%s\n\n", look.Palette.Paint(ui.Bold, title)); err != nil {
		return err
	}
	if _, err := s.facts(look).WriteTo(w); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "\n%s\n\n", look.Palette.Paint(ui.Bold, "What happened")); err != nil {
		return err
	}
	_, err := s.course(look).WriteTo(w)
	return err
}

// facts is the upper half: one fact a row, absent ones left out.
func (s *Story) facts(look Look) *ui.Table {
	t := ui.NewTable(look.Palette, 0)
	add := func(name, value string) {
		if value != "" {
			t.Row(ui.Plain, "  "+name, value)
		}
	}
	add("principal", s.Scope.Principal)
	add("capsule", s.Scope.Capsule)
	add("instance", s.Scope.Instance)
	add("call", s.Scope.CallID)
	s.requestFacts(add)
	s.decisionFacts(add)
	s.startFacts(add)
	s.endFacts(add)
	s.timeFacts(add, look.Zone)
	return t
}

func (s *Story) requestFacts(add func(name, value string)) {
	r := s.Request
	if r == nil {
		return
	}
	add("command", CommandLine(r))
	add("tier", r.Tier.String())
	add("label", s.Label())
	add("asked dir", r.Cwd)
	if len(r.EnvKeys) > 0 {
		add("environment", strings.Join(r.EnvKeys, ", ")+" (values are not recorded)")
	}
	switch {
	case r.StdinBytes > 0 && len(r.StdinDigest) == 0:
		add("input", ui.Bytes(r.StdinBytes)+", too large to be read")
	case r.StdinBytes > 0:
		add("input", fmt.Sprintf("%s, keyed digest %x", ui.Bytes(r.StdinBytes), r.StdinDigest))
	}
	add("limits", limits(r.Limits))
	for i := range r.Files {
		add("file", injected(&r.Files[i]))
	}
}

func limits(l *event.Limits) string {
	if l == nil {
		return ""
	}
	var said []string
	if l.MemoryBytes != nil {
		said = append(said, ui.Bytes(*l.MemoryBytes)+" of memory")
	}
	if l.CPUSeconds != nil {
		said = append(said, ui.Count(*l.CPUSeconds, "second")+" of CPU")
	}
	if l.PIDs != nil {
		said = append(said, ui.Count(*l.PIDs, "process"))
	}
	if l.OpenFiles != nil {
		said = append(said, ui.Count(*l.OpenFiles, "open file"))
	}
	return list(said)
}

func (s *Story) decisionFacts(add func(name, value string)) {
	d := s.Decision
	if d == nil {
		return
	}
	if d.Outcome == event.OutcomeGranted {
		add("decision", "granted by "+orUnnamed(d.Rule))
	} else {
		add("decision", "refused: "+cmp.Or(d.Code, "no code")+because(d.Rule))
	}
	add("detail", d.Detail)
	add("numbers", quotas(d.Quotas))
	add("orders", Orders(d.Orders))
	add("directory", d.Cwd)
	s.holdingFacts(add)
	if s.Started == nil && d.Outcome == event.OutcomeGranted {
		add("isolation", d.Isolation)
	}
}

// Orders says what a shim does alone, "" if there are none.
func Orders(o *event.Orders) string {
	if o == nil {
		return ""
	}
	s := "may run without a time limit"
	if o.LifetimeNano > 0 {
		s = fmt.Sprintf("may run for %s, then TERM and %s later KILL", nanos(o.LifetimeNano), nanos(o.GraceNano))
	}
	if o.OrphanNano > 0 {
		return s + "; outlives the daemon by " + nanos(o.OrphanNano)
	}
	return s + "; outlives the daemon for ever"
}

func (s *Story) startFacts(add func(name, value string)) {
	b := s.Started
	if b == nil {
		return
	}
	add("isolation", b.Isolation)
	add("executable", fileFact(&b.Executable))
	add("interpreter", fileFact(b.Interpreter))
	add("program", identity(&b.Program))
	add("shim", identity(&b.Shim))
}

func fileFact(f *event.File) string {
	if f == nil || f.Path == "" {
		return ""
	}
	return fmt.Sprintf("%s, SHA-256 %s (device %d, inode %d)", f.Path, cmp.Or(hex.EncodeToString(f.SHA256), "not known"), f.Device, f.Inode)
}

// identity shows what names a process for ever; the pid alone never does.
func identity(i *event.Identity) string {
	if i.PID == 0 {
		return ""
	}
	s := fmt.Sprintf("pid %d, started at tick %d", i.PID, i.StartTicks)
	if len(i.PidfsHandle) > 0 {
		s += ", pidfs handle " + hex.EncodeToString(i.PidfsHandle)
	}
	if i.PidNamespace != 0 {
		s += fmt.Sprintf(", PID namespace %d", i.PidNamespace)
	}
	return s
}

func (s *Story) endFacts(add func(name, value string)) {
	if b := s.Exited; b != nil {
		add("exit", Exit(b.Exit)+", "+causes.say(cmp.Or(b.Cause, "cause unknown")))
		add("used", fmt.Sprintf("%s in user mode, %s in kernel mode, at most %s of memory", nanos(b.UserNano), nanos(b.SystemNano), ui.Bytes(b.MaxRSSKiB<<10)))
		add("stdout", stream(b.Stdout))
		add("stderr", stream(b.Stderr))
	}
	if b := s.Lost; b != nil {
		add("lost", lostReasons.say(b.Reason)+detail(b.Detail))
	}
	if b := s.Failed; b != nil {
		add("failed", strings.TrimPrefix(teller{process: ""}.failed(b), " could not be started, "))
	}
	if b := s.Aborted; b != nil {
		add("aborted", abortReasons.say(b.Reason)+detail(b.Detail))
	}
}

func stream(x event.StreamSummary) string {
	s := ui.Bytes(x.Bytes)
	if x.Bytes > 0 && len(x.SHA256) > 0 {
		s += ", SHA-256 " + hex.EncodeToString(x.SHA256)
	}
	if x.Dropped > 0 {
		s += fmt.Sprintf(" (%s were dropped before anybody read them)", ui.Bytes(x.Dropped))
	}
	return s
}

func (s *Story) timeFacts(add func(name, value string), zone *time.Location) {
	when := func(name string, t time.Time) {
		if !t.IsZero() {
			add(name, ui.Time(t, zone))
		}
	}
	when("requested", s.Requested())
	when("started", s.StartedAt())
	when("ended", s.EndedAt())
	if ran, ok := s.Ran(); ok {
		add("ran for", ui.Duration(ran))
	}
}

// course is the lower half: each event with the time since the first.
func (s *Story) course(look Look) *ui.Table {
	t := ui.NewTable(look.Palette, 0, "  SEQ", "TIME", "AFTER", "WHAT")
	first := s.Events[0]
	for _, e := range s.Events {
		t.Row(StyleOf(e), "  "+strconv.FormatUint(e.Seq, 10), ui.Time(ui.Nanos(e.Wall), look.Zone), since(first, e), InStory(e))
	}
	return t
}

// since is the time from a to b: by the boot clock within one boot, else
// by the wall clock.
func since(a, b *event.Event) string {
	if a.BootID == b.BootID {
		return nanos(b.Boottime - a.Boottime)
	}
	return nanos(b.Wall - a.Wall)
}

// StyleOf is how an event stands out in a table.
func StyleOf(e *event.Event) ui.Style {
	switch b := e.Body.(type) {
	case *event.SpawnDecided:
		if b.Outcome != event.OutcomeGranted {
			return ui.Warn
		}
	case *event.ProcessLost, *event.OrphanEnded:
		return ui.Bad
	case *event.SpawnFailed, *event.SpawnAborted:
		return ui.Warn
	case *event.ProcessExited:
		if b.Exit.Code != nil && *b.Exit.Code == 0 {
			return ui.Good
		}
		return ui.Warn
	case *event.SegmentOpened, *event.HandleReleased:
		return ui.Dim
	}
	return ui.Plain
}
