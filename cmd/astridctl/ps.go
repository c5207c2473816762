package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/report"
	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/ledger/event"
)

// psFlags are the flags of ps.
type psFlags struct {
	all, quiet, noTrunc bool
	filters             []string
	format              string
	json                *jsonFlag
}

func newPs(a *app) *cobra.Command {
	f := &psFlags{}
	cmd := &cobra.Command{
		Use: "ps", Short: "List the processes that run", Args: noArgs,
		Long: `List the processes that run; with -a also those that ended and whose handle is
still held. Without a daemon the table is that of the last event in the ledger.

Filters (--filter KEY=VALUE, repeatable; the same key twice means either):
id (a beginning), principal, capsule, call-id, command, label, tier, phase,
isolation, stdin (open, closed), watched (yes, no). Status, as in "status=running", is understood for phase.

--format is table, json, or a Go template over one process, such as
'{{.ID}} {{.Command}}'; its names are ID, Principal, Capsule, Instance, CallID,
Tier, Phase, Command, Label, Cwd, Isolation, PID, Requested, Started, Ended,
Exit, Cause, Ending, LastSeq, Unrecorded, Attached, Watch, Stdin, Overflow,
LifetimeNano, IdleTimeoutNano, RetentionNano, IdleNano, Trouble.

IDLE is how long nobody has touched a persistent process, of how long that may
be; a daemon alone knows the former. HELD is how often a guest attached to it,
and whether it is watched.`,
		Example: "  astridctl ps\n  astridctl ps -a --filter principal=alice\n  astridctl ps -q --filter capsule=builder",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.ps(cmd.Context(), f) },
	}
	fl := cmd.Flags()
	fl.BoolVarP(&f.all, "all", "a", false, "also processes that ended and are not yet released")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "only ids")
	fl.BoolVar(&f.noTrunc, "no-trunc", false, "never shorten a row to the terminal's width")
	fl.StringArrayVar(&f.filters, "filter", nil, "only processes with `KEY=VALUE`")
	fl.StringVar(&f.format, "format", "table", "table, json or a Go `TEMPLATE`")
	f.json = addJSON(cmd, handleFields)
	return cmd
}

// handleFields are the fields of control.Handle's JSON.
var handleFields = []string{
	"id", "principal", "capsule", "instance", "call_id", "tier", "phase", "command", "label", "cwd", "isolation", "pid",
	"requested", "started", "ended", "exit", "cause", "ending", "last_seq", "unrecorded", "attached", "watch", "stdin", "overflow",
	"lifetime_ns", "idle_timeout_ns", "retention_ns", "idle_ns", "trouble",
}

func (a *app) ps(ctx context.Context, f *psFlags) error {
	keep, err := psFilter(f.filters)
	if err != nil {
		return err
	}
	if err := f.json.check(); err != nil {
		return err
	}
	src, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer src.close()
	table, err := src.ps(ctx, f.all)
	if err != nil {
		return err
	}
	if _, offline := src.(*fileSource); offline {
		a.note("no daemon is asked: this is the table as of event %d; what it shows as running may have ended since", table.Seq)
	}
	if table.Source == control.FromDirectories {
		a.note("the ledger is damaged: this is what the process directories tell; see astridctl status")
	}
	handles := slices.DeleteFunc(table.Handles, func(h control.Handle) bool { return !keep(&h) })
	return a.showHandles(handles, f)
}

func (a *app) showHandles(handles []control.Handle, f *psFlags) error {
	switch {
	case f.json.on() || f.format == "json":
		for i := range handles {
			if err := f.json.write(a.stdout, &handles[i]); err != nil {
				return err
			}
		}
		return nil
	case f.quiet:
		for i := range handles {
			fmt.Fprintln(a.stdout, handles[i].ID)
		}
		return nil
	case f.format != "table":
		return a.psTemplate(handles, f.format)
	}
	width := ui.Width(a.stdout)
	if f.noTrunc {
		width = 0
	}
	_, err := a.handleTable(handles, width, a.now()).WriteTo(a.stdout)
	return err
}

// psTemplate writes each process through a template, a line each.
func (a *app) psTemplate(handles []control.Handle, format string) error {
	t, err := template.New("format").Option("missingkey=error").Parse(format)
	if err != nil {
		return usagef("--format: %v", err)
	}
	for i := range handles {
		var line strings.Builder
		if err := t.Execute(&line, safeHandle(handles[i])); err != nil {
			return usagef("--format: %v", err)
		}
		fmt.Fprintln(a.stdout, line.String())
	}
	return nil
}

// safeHandle makes what a guest chose safe to show.
func safeHandle(h control.Handle) control.Handle {
	for _, s := range []*string{&h.Principal, &h.Capsule, &h.Instance, &h.CallID, &h.Command, &h.Label, &h.Cwd, &h.Cause, &h.Ending} {
		*s = ui.Safe(*s)
	}
	if h.Watch != nil {
		suffix := ui.Safe(*h.Watch)
		h.Watch = &suffix
	}
	return h
}

// handleTable lays processes out; now is what ages count from.
func (a *app) handleTable(handles []control.Handle, width int, now time.Time) *ui.Table {
	t := ui.NewTable(a.palette(), width, "ID", "PRINCIPAL", "CAPSULE", "TIER", "STATUS", "PID", "SINCE", "IDLE", "HELD", "ISOLATION", "LABEL", "COMMAND")
	for i := range handles {
		h := &handles[i]
		t.Row(handleStyle(h), h.ID, h.Principal, h.Capsule, h.Tier, handleStatus(h), pidText(h.PID), handleSince(h, now),
			handleIdle(h), handleHeld(h), h.Isolation, cmp.Or(h.Label, "-"), h.Command)
	}
	return t
}

// handleIdle is how long nobody has touched a process, of how long that may be.
func handleIdle(h *control.Handle) string {
	if h.IdleTimeoutNano == 0 || h.Ended != nil {
		return "-"
	}
	idle := "?"
	if h.IdleNano != nil {
		idle = ui.Duration(time.Duration(*h.IdleNano).Round(time.Second))
	}
	return idle + "/" + ui.Duration(time.Duration(h.IdleTimeoutNano))
}

// handleHeld is how often a guest attached, and whether the process is watched.
func handleHeld(h *control.Handle) string {
	switch {
	case h.Attached == 0 && h.Watch == nil:
		return "-"
	case h.Watch == nil:
		return fmt.Sprint(h.Attached)
	}
	return fmt.Sprintf("%d, watched", h.Attached)
}

// handleStatus says in a word or two how a process stands.
func handleStatus(h *control.Handle) string {
	s := h.Phase
	switch {
	case h.Phase == "started":
		s = "running"
	case h.Phase == "decided":
		s = "granted"
	case h.Exit != nil:
		s = exitText(event.Exit{Code: h.Exit.Code, Signal: h.Exit.Signal})
	}
	if h.Unrecorded {
		s += ", unrecorded"
	}
	if h.Ending != "" {
		s += ", ending (" + h.Ending + ")"
	}
	switch h.Trouble {
	case control.TroubleSilent:
		s += ", its shim does not answer"
	case control.TroubleDying:
		s += ", not dead yet"
	}
	return s
}

// exitText is an exit in a word or two.
func exitText(x event.Exit) string {
	switch {
	case x.Code != nil:
		return fmt.Sprintf("exited %d", *x.Code)
	case x.Signal != nil:
		return "killed by " + report.Signal(uint32(*x.Signal))
	}
	return "exited"
}

func handleStyle(h *control.Handle) ui.Style {
	switch {
	case h.Phase == "lost" || h.Unrecorded || h.Trouble != "":
		return ui.Bad
	case h.Phase == "failed" || h.Ending != "":
		return ui.Warn
	case h.Ended != nil:
		return ui.Dim
	}
	return ui.Plain
}

// handleSince is how long ago the newest change of phase was.
func handleSince(h *control.Handle, now time.Time) string {
	for _, t := range []*time.Time{h.Ended, h.Started, h.Requested} {
		if t != nil {
			return ui.Duration(max(0, now.Sub(*t)).Round(time.Second))
		}
	}
	return "-"
}

func pidText(pid uint32) string {
	if pid == 0 {
		return "-"
	}
	return strconv.FormatUint(uint64(pid), 10)
}

// psKeys are what --filter can ask.
var psKeys = map[string]func(h *control.Handle, want string) bool{
	"id":        func(h *control.Handle, want string) bool { return strings.HasPrefix(h.ID, strings.ToUpper(want)) },
	"principal": func(h *control.Handle, want string) bool { return h.Principal == want },
	"capsule":   func(h *control.Handle, want string) bool { return h.Capsule == want },
	"call-id":   func(h *control.Handle, want string) bool { return h.CallID == want },
	"command":   func(h *control.Handle, want string) bool { return h.Command == want || base(h.Command) == want },
	"label":     func(h *control.Handle, want string) bool { return h.Label == want },
	"tier":      func(h *control.Handle, want string) bool { return h.Tier == want },
	"phase":     func(h *control.Handle, want string) bool { return h.Phase == want },
	"status": func(h *control.Handle, want string) bool {
		return h.Phase == want || strings.HasPrefix(handleStatus(h), want)
	},
	"isolation": func(h *control.Handle, want string) bool { return h.Isolation == want },
	"stdin":     func(h *control.Handle, want string) bool { return h.Stdin == want },
	"watched":   func(h *control.Handle, want string) bool { return (h.Watch != nil) == (want == "yes") },
}

func base(command string) string { return command[strings.LastIndexByte(command, '/')+1:] }

// psFilter returns the test that the filters make together.
func psFilter(filters []string) (keep func(*control.Handle) bool, err error) {
	want := map[string][]string{}
	for _, f := range filters {
		key, value, ok := strings.Cut(f, "=")
		if _, known := psKeys[key]; !ok || !known {
			keys := make([]string, 0, len(psKeys))
			for k := range psKeys {
				keys = append(keys, k)
			}
			slices.Sort(keys)
			return nil, usagef("--filter %q: use KEY=VALUE with one of %s", f, strings.Join(keys, ", "))
		}
		want[key] = append(want[key], value)
	}
	return func(h *control.Handle) bool {
		for key, values := range want {
			if !slices.ContainsFunc(values, func(v string) bool { return psKeys[key](h, v) }) {
				return false
			}
		}
		return true
	}, nil
}
