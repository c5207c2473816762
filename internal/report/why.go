package report

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/ledger/event"
)

// Why is the explanation of one decision.
type Why struct {
	Story *Story

	// Policies are the events whose texts were in force when it was decided:
	// policy.changed of the config, which holds the quotas of every principal,
	// and capsule.loaded.
	// Each is the newest before the decision; any may be missing.
	Policies []*event.Event

	// Complete is false if the ledger no longer reaches back to a policy.
	Complete bool
}

// Subjects names the policies that bear on the decision about s, as
// [PolicySubject] does.
func (s *Story) Subjects() []string {
	return []string{"config", "capsule:" + s.Scope.Capsule}
}

// PolicySubject tells whose policy e puts into force: "config" or
// "capsule:builder"; "" if it is no such event.
func PolicySubject(e *event.Event) string {
	switch b := e.Body.(type) {
	case *event.PolicyChanged:
		return b.Subject
	case *event.CapsuleLoaded:
		return "capsule:" + e.Capsule
	}
	return ""
}

// Write explains the decision for people.
func (y *Why) Write(w io.Writer, look Look) error {
	s := y.Story
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", look.Palette.Paint(ui.Bold, y.Headline()))
	for _, p := range y.Reasons() {
		fmt.Fprintf(&b, "  %s\n", p)
	}
	for _, e := range s.Events {
		if e.Kind() == event.KindSpawnDecided {
			fmt.Fprintf(&b, "  It was decided at %s and stands in the ledger as event %d.\n", ui.Time(ui.Nanos(e.Wall), look.Zone), e.Seq)
		}
	}
	for _, e := range y.Policies {
		writePolicy(&b, look, e)
	}
	if !y.Complete {
		fmt.Fprint(&b, "\nNot every policy text that was in force is found in this ledger; the rule above is what the decision recorded.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Headline is the decision in one sentence.
func (y *Why) Headline() string {
	s := y.Story
	command := ui.Cut(cmp.Or(s.Command(), "a program that the ledger no longer names"), sentenceArgs)
	if s.Decision != nil && s.Decision.Outcome == event.OutcomeGranted {
		return fmt.Sprintf("%s, of capsule %s for %s, was allowed to run.", command, ui.Safe(orUnnamed(s.Scope.Capsule)), ui.Safe(orUnnamed(s.Scope.Principal)))
	}
	if s.Decision == nil {
		return fmt.Sprintf("Nothing was decided about %s.", command)
	}
	return fmt.Sprintf("%s, of capsule %s for %s, was not allowed to run.", command, ui.Safe(orUnnamed(s.Scope.Capsule)), ui.Safe(orUnnamed(s.Scope.Principal)))
}

// Reasons explain the decision, a sentence each.
func (y *Why) Reasons() []string {
	d := y.Story.Decision
	if d == nil {
		return []string{"The ledger holds no decision for this process."}
	}
	var out []string
	say := func(format string, args ...any) { out = append(out, ui.Safe(fmt.Sprintf(format, args...))) }
	if d.Outcome == event.OutcomeGranted {
		say("The rule that allowed it: %s.", orUnnamed(d.Rule))
	} else {
		say("The answer to the capsule was %s: %s.", cmp.Or(d.Code, "no code"), strings.TrimSuffix(cmp.Or(d.Detail, refusals.say(d.Code)), "."))
		say("The rule that refused it: %s.", orUnnamed(d.Rule))
	}
	for _, q := range d.Quotas {
		say("%s", quotaSeen(q, d.Code == "quota" && d.Outcome != event.OutcomeGranted))
	}
	if len(d.Quotas) == 0 && d.Outcome != event.OutcomeGranted {
		say("No quota was looked at, since quotas come after the rule.")
	}
	if o := Orders(d.Orders); o != "" {
		say("Its standing orders: it %s.", o)
	}
	if d.Isolation != "" && d.Outcome == event.OutcomeGranted {
		say("It was to run %s.", isolation(d.Isolation))
	}
	return out
}

var refusals = phrases{
	"capability-denied":   "nothing grants this command to the capsule",
	"invalid-input":       "the request is malformed",
	"boundary-escape":     "the directory lies outside the workspace",
	"quota":               "a quota is used up",
	"too-large":           "something in the request is too large",
	"registry-full":       "too many ids are retained",
	"persist-unsupported": "nothing here can contain a persistent process",
}

func quotaSeen(q event.QuotaSeen, refused bool) string {
	s := fmt.Sprintf("Before it, %s had %d of %d", scope(q.Scope), q.Used, q.Cap)
	switch {
	case refused && q.Used >= q.Cap:
		return s + ", so no slot was free."
	case q.Used < q.Cap:
		return s + fmt.Sprintf(", so %d were free.", q.Cap-q.Used)
	}
	return s + "."
}

// writePolicy quotes the text that an event put into force.
func writePolicy(b *strings.Builder, look Look, e *event.Event) {
	var title, text string
	var sum []byte
	switch p := e.Body.(type) {
	case *event.PolicyChanged:
		title, text, sum = "policy "+p.Subject, p.Text, p.SHA256
	case *event.CapsuleLoaded:
		title, text, sum = "manifest of capsule "+e.Capsule, p.Manifest, p.ManifestSHA256
	default:
		return
	}
	head := fmt.Sprintf("In force: %s (event %d, SHA-256 %s)", ui.Safe(title), e.Seq, hex.EncodeToString(sum))
	fmt.Fprintf(b, "\n%s\n\n", look.Palette.Paint(ui.Bold, head))
	for _, line := range strings.Split(strings.TrimRight(ui.SafeText(text), "\n"), "\n") {
		b.WriteString(strings.TrimRight("    "+line, " \t") + "\n")
	}
}
