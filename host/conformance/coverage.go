package conformance

import (
	"fmt"
	"slices"
	"strings"
)

// functions are those of the contract, each as the call that a script makes of
// it. Every one has to be made by every guest whose revision has it.
var functions = map[string][]string{
	"astrid:process/host": {
		"spawn", "spawn-background", "h.read-logs", "h.write-stdin", "h.close-stdin", "h.signal", "h.kill", "h.wait",
		"h.wait-with-output", "h.os-pid", "h.subscribe-exit", "h.subscribe-logs", "h.drop", "spawn-persistent", "attach",
		"list-processes", "status", "status-many", "read-logs", "read-since", "write-stdin", "close-stdin", "signal", "wait",
		"stop", "release-process", "watch", "unwatch",
	},
	"astrid:io/poll": {"p.ready", "p.block", "poll", "p.drop"},
	"astrid:sys/host": {
		"get-config", "get-caller", "log", "signal-ready", "clock-ms", "clock-monotonic-ns", "sleep-ns", "random-bytes",
		"check-capsule-capability", "enumerate-capabilities",
	},
	"astrid:ipc/host": {
		"publish", "publish-as", "subscribe", "s.poll", "s.recv", "s.subscribe-readiness", "s.drop", "get-interceptor-bindings",
	},
}

// processErrors are the errors of astrid:process/host, each with the revision
// from which on a guest can get it.
var processErrors = map[string]string{
	"capability-denied": "0.7", "invalid-input": "0.7", "boundary-escape": "0.7", "quota": "0.7", "too-large": "0.7", "closed": "0.7",
	"cancelled": "0.7", "wait-timeout": "0.7", "unknown": "0.7", "no-such-process": "1.0.0", "registry-full": "1.0.0", "persist-unsupported": "1.0.0",
}

// otherErrors are those of the other interfaces.
var otherErrors = map[string][]string{
	"astrid:io/poll":  {"invalid-input", "closed", "too-large", "cancelled"},
	"astrid:sys/host": {"config-key-reserved", "too-large", "cancelled"},
	"astrid:ipc/host": {"capability-denied", "invalid-input", "quota", "unknown"},
}

// numbers are the lines of the contract's table of numbers, and the bounds that
// its text names. A case covers one with its boundary and what lies beyond it.
var numbers = []string{
	"principal-background", "principal-background-least", "principal-background-profile", "capsule-background",
	"cmd", "args", "sync-at-once", "sync-timeout", "sync-output", "stdin-prelude", "write-stdin",
	"ring-default", "ring-least", "ring-most", "registry-principal", "registry-capsule",
	"lifetime-default", "lifetime-most", "idle-default", "idle-most", "idle-zero", "retention-default", "retention-most",
	"stop-grace-default", "stop-grace-most", "tool-cancel", "chunk", "label", "env-entries", "env-value", "env-key", "env-reserved",
	"env-passed", "cwd", "inject-count", "inject-each", "inject-together", "inject-env", "inject-env-key", "inject-path", "inject-path-rules",
	"process-id", "foreign-ids", "poll-most", "sleep-most", "random-most", "topic-bytes", "topic-segments", "topic-grammar",
	"ipc-payload", "subscriptions", "recv-most", "lossy-text", "drain-rune", "attached-wait", "watch-suffix",
}

// behaviours are what prior hosts of the contract got right and wrong, by
// the number of the defect where it has one.
var behaviours = []string{
	"prior/cancel-int-ignored", "prior/cancel-other-call", "prior/cancel-no-call-id", "prior/cancel-spares-peers", "prior/cancel-token",
	"prior/retire", "prior/ring-newest", "prior/drain-empties", "prior/backpressure-never-evicts", "prior/cursor-resumes",
	"prior/cursor-drops", "prior/cursor-rejects-garbage", "prior/stdin-too-large", "prior/close-stdin", "prior/foreign-ids",
	"prior/concurrent-cap", "prior/stop-frees-slot", "prior/exited-ids", "prior/injections-128", "prior/aliased-paths",
	"prior/symlink-escape", "prior/versions", "prior/bidirectional", "prior/early-pipe-closure", "prior/order-of-checks",
	"prior/1-restart", "prior/2-pid-reuse", "prior/3-tree", "prior/4-per-principal", "prior/4-counts-handles", "prior/4-leak",
	"prior/4-clamped", "prior/4-decided-after-fork", "prior/5-quota", "prior/5-time-limit", "prior/5-output", "prior/6-refusals-recorded",
	"prior/7-signals", "prior/7-missing-executable", "prior/7-os-pid", "prior/8-flag", "prior/8-prefix", "prior/9-allow",
	"prior/10-drained-eof", "prior/10-second-writer", "prior/10-reaped-under-wait", "prior/10-cursor-bound", "prior/11-release-oracle",
	"prior/12-write-stdin", "prior/12-wait-with-output", "prior/12-subscribe-exit", "prior/12-subscribe-logs", "prior/12-attach", "prior/12-watch",
	"prior/12-limits", "prior/12-figures", "prior/12-signal", "prior/12-stdin", "prior/13-network", "prior/14-verify",
}

// elsewhere are items that no guest can see, with the test that has them.
var elsewhere = map[string]string{
	"prior/6-refusals-recorded": "host: TestRefusalsAreRecorded",
	"prior/9-allow":             "host/policy: TestGate",
	"prior/10-second-writer":    "host/act: TestWritersTakeTurns (a guest makes one call at a time)",
	"prior/13-network":          "README.md: in their process tree, not in their access (it is not promised)",
	"prior/14-verify":           "ledger/verify: TestDamage",
	"prior/versions":            "host/bind: TestUnservedImportsAreAllNamed, TestBothVersionsInOneGuest",
}

// Coverage counts the cases that have each item of the contract.
type Coverage struct {
	count map[string]map[string]int // item, column
	cols  []string
}

// Cover counts what the cases that each guest can play show.
func Cover(cases []*Case, guests []Guest) *Coverage {
	c := &Coverage{count: map[string]map[string]int{}}
	for _, g := range guests {
		c.cols = append(c.cols, g.Name)
		for _, k := range cases {
			if g.Takes(k) {
				c.add(k, g.Name)
			}
		}
	}
	return c
}

func (c *Coverage) add(k *Case, column string) {
	items := map[string]bool{}
	for _, name := range k.Covers {
		items[name] = true
	}
	jobs := map[string][]Line{}
	for _, st := range k.Steps {
		lines := st.Lines
		if st.Verb == "await" {
			lines = jobs[st.Job]
		} else if st.Job != "" {
			jobs[st.Job] = lines
		}
		for i, l := range lines {
			items[interfaceOf(l.Op)+" "+l.Op] = true
			if e := errorOf(st.answer(i)); e != "" {
				items[interfaceOf(l.Op)+" error "+e] = true
			}
		}
	}
	for i := range items {
		if c.count[i] == nil {
			c.count[i] = map[string]int{}
		}
		c.count[i][column]++
	}
}

// answer is what the i-th line of the step is expected to get.
func (st *Step) answer(i int) string {
	var own []string
	for _, w := range st.Want {
		if !strings.HasPrefix(w, "- ") {
			own = append(own, w)
		}
	}
	if i < len(own) {
		return own[i]
	}
	return ""
}

func errorOf(answer string) string {
	if rest, ok := strings.CutPrefix(answer, "error "); ok {
		name, _, _ := strings.Cut(rest, " ")
		return name
	}
	return ""
}

func interfaceOf(op string) string {
	for i, all := range functions {
		if slices.Contains(all, op) {
			return i
		}
	}
	return "guest"
}

// Table writes the counts, an item a line, a guest a column.
func (c *Coverage) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-58s", "")
	for _, col := range c.cols {
		fmt.Fprintf(&b, " %9s", col)
	}
	b.WriteByte('\n')
	for _, item := range checklist() {
		fmt.Fprintf(&b, "%-58s", item)
		for _, col := range c.cols {
			fmt.Fprintf(&b, " %9d", c.count[item][col])
		}
		if where := elsewhere[item]; where != "" {
			b.WriteString("  " + where)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// checklist is every item, in order.
func checklist() (all []string) {
	for _, i := range []string{"astrid:process/host", "astrid:io/poll", "astrid:sys/host", "astrid:ipc/host"} {
		for _, f := range functions[i] {
			all = append(all, i+" "+f)
		}
		errs := otherErrors[i]
		if errs == nil {
			for e := range processErrors {
				errs = append(errs, e)
			}
			slices.Sort(errs)
		}
		for _, e := range errs {
			all = append(all, i+" error "+e)
		}
	}
	return append(append(all, numbers...), behaviours...)
}

// Missing names what no case has: a function or an error in a revision that has
// it, a number or a behaviour in any; and what cases claim to cover that is not
// on the list.
func (c *Coverage) Missing(guests []Guest) (missing []string) {
	for _, item := range checklist() {
		if elsewhere[item] != "" {
			continue
		}
		total := 0
		for _, n := range c.count[item] {
			total += n
		}
		if total == 0 {
			missing = append(missing, item)
		}
	}
	for _, g := range guests {
		missing = append(missing, c.missingIn(g)...)
	}
	known := checklist()
	for item := range c.count {
		if !slices.Contains(known, item) && !strings.HasPrefix(item, "guest ") && !strings.Contains(item, " error ") {
			missing = append(missing, item+": covered, and not on the list")
		}
	}
	return missing
}

func (c *Coverage) missingIn(g Guest) (missing []string) {
	for i, all := range functions {
		for _, f := range all {
			if g.has(since[f]) && c.count[i+" "+f][g.Name] == 0 {
				missing = append(missing, i+" "+f+" by "+g.Name)
			}
		}
	}
	for e, from := range processErrors {
		if g.has(from) && elsewhere[e] == "" && c.count["astrid:process/host error "+e][g.Name] == 0 {
			missing = append(missing, "astrid:process/host error "+e+" by "+g.Name)
		}
	}
	return missing
}
