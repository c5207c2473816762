package report

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/ledger/event"
)

// sentenceArgs bounds the command line in a sentence, in runes; the whole
// stands in the story and in the JSON.
const sentenceArgs = 160

// CommandLine is the request's command and arguments as a shell would read
// them; cut arguments are shown as such.
func CommandLine(b *event.SpawnRequested) string {
	s := ui.Shell(append([]string{b.Command}, b.Args...)...)
	if b.ArgsCut {
		s += fmt.Sprintf(" … (%s of arguments, cut to %s)", ui.Bytes(b.ArgsBytes), ui.Count(len(b.Args), "argument"))
	}
	return s
}

func (t teller) requested(e *event.Event, b *event.SpawnRequested) string {
	s := fmt.Sprintf("%s asked to run %s %s", actor(e), ui.Cut(CommandLine(b), sentenceArgs), tier(b.Tier))
	if b.Cwd != "" {
		s += ", in the directory " + b.Cwd
	}
	if with := inputs(b); with != "" {
		s += ", with " + with
	}
	var as []string
	if e.CallID != "" {
		as = append(as, "call "+e.CallID)
	}
	if t.process != inStory {
		as = append(as, t.process)
	}
	return s + because(strings.Join(as, ", "))
}

// inputs tells what else the program was to get.
func inputs(b *event.SpawnRequested) string {
	var with []string
	switch n := len(b.EnvKeys); {
	case n > 3:
		with = append(with, fmt.Sprintf("%s and %d more variables set", strings.Join(b.EnvKeys[:2], ", "), n-2))
	case n > 0:
		with = append(with, strings.Join(b.EnvKeys, ", ")+" set")
	}
	if b.StdinBytes > 0 {
		with = append(with, ui.Bytes(b.StdinBytes)+" of input")
	}
	if n := len(b.Files); n > 0 {
		with = append(with, ui.Count(n, "file")+" of its own")
	}
	return list(with)
}

func (t teller) decided(b *event.SpawnDecided) string {
	seen := quotas(b.Quotas)
	if b.Outcome == event.OutcomeGranted {
		s := t.process + " was granted by " + orUnnamed(b.Rule)
		if seen != "" {
			s += "; before it, " + seen
		}
		return s
	}
	s := fmt.Sprintf("%s was refused: %s", t.process, cmp.Or(b.Code, "no reason"))
	if b.Detail != "" {
		s += ", " + b.Detail
	}
	if b.Rule != "" {
		s += " (" + b.Rule + ")"
	}
	if seen != "" {
		s += "; at that moment " + seen
	}
	return s
}

// quotas tells the numbers that a decision saw.
func quotas(qs []event.QuotaSeen) string {
	said := make([]string, len(qs))
	for i, q := range qs {
		said[i] = fmt.Sprintf("%s had %d of %d", scope(q.Scope), q.Used, q.Cap)
	}
	return list(said)
}

// scope says a quota's scope in words.
func scope(s string) string {
	kind, name, ok := strings.Cut(s, ":")
	if !ok {
		return s
	}
	switch kind {
	case "principal":
		return name
	case "principal-sync":
		return name + " (waited for)"
	}
	return kind + " " + name
}

func (t teller) aborted(b *event.SpawnAborted) string {
	return t.process + " never ran" + because(abortReasons.say(b.Reason)) + detail(b.Detail)
}

func (t teller) failed(b *event.SpawnFailed) string {
	s := t.process + " could not be started"
	if b.Step != "" {
		s += ", at the step " + b.Step
	}
	if b.Errno != 0 {
		s += " (" + errno(b.Errno) + ")"
	}
	return s + detail(b.Detail)
}

func detail(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}

func (t teller) started(b *event.ProcessStarted) string {
	s := fmt.Sprintf("%s started as pid %d", t.process, b.Program.PID)
	if b.Executable.Path != "" {
		s += fmt.Sprintf(" from %s (%s)", b.Executable.Path, digest(b.Executable.SHA256))
	}
	if b.Interpreter != nil {
		s += " by its interpreter " + b.Interpreter.Path
	}
	if b.Isolation != "" {
		s += ", " + isolation(b.Isolation)
	}
	return s
}

// isolation says what "pidns+mount" and the like mean.
func isolation(s string) string {
	if spaces, ok := strings.CutSuffix(s, "+files"); ok {
		return isolation(spaces) + ", its mounts locked"
	}
	if s == "none" {
		return "without isolation (the weaker mode)"
	}
	var spaces []string
	for _, part := range strings.Split(s, "+") {
		said, ok := namespaces[part]
		if !ok {
			return "isolated by " + s
		}
		spaces = append(spaces, said)
	}
	if len(spaces) == 1 {
		return "in a " + spaces[0] + " namespace of its own"
	}
	return "in " + list(spaces) + " namespaces of its own"
}
