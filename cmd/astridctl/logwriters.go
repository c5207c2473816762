package main

import (
	"bufio"
	"fmt"

	"github.com/astrid-os/processledger/internal/report"
	"github.com/astrid-os/processledger/internal/ui"
	"github.com/astrid-os/processledger/ledger/event"
)

// logTable writes events in columns of fixed width, so that a row can be shown
// as soon as it is known.
type logTable struct {
	a      *app
	w      *bufio.Writer
	p      ui.Palette
	headed bool
}

func newLogTable(a *app) *logTable {
	return &logTable{a: a, w: bufio.NewWriter(a.stdout), p: a.palette()}
}

// logRow is the layout: seq, time, kind, principal, capsule, handle, brief.
const logRow = "%-7s %-24s %-19s %-10s %-10s %-26s %s"

// Write implements export.Writer.
func (t *logTable) Write(e *event.Event) error {
	if !t.headed {
		t.headed = true
		fmt.Fprintln(t.w, t.p.Paint(ui.Bold, fmt.Sprintf(logRow, "SEQ", "TIME", "KIND", "PRINCIPAL", "CAPSULE", "PROCESS", "WHAT")))
	}
	handle := "-"
	if !e.Handle.IsZero() {
		handle = e.Handle.String()
	}
	row := fmt.Sprintf(logRow, fmt.Sprint(e.Seq), ui.Time(ui.Nanos(e.Wall), t.a.zone()), e.Kind(), cell(e.Principal), cell(e.Capsule), handle, report.Brief(e))
	_, err := fmt.Fprintln(t.w, t.p.Paint(report.StyleOf(e), row))
	return err
}

// Flush implements export.Writer.
func (t *logTable) Flush() error { return t.w.Flush() }

func cell(s string) string {
	if s == "" {
		return "-"
	}
	return ui.Safe(s)
}

// sentences writes an English sentence an event.
type sentences struct {
	a *app
	w *bufio.Writer
	p ui.Palette
}

func newSentences(a *app) *sentences {
	return &sentences{a: a, w: bufio.NewWriter(a.stdout), p: a.palette()}
}

// Write implements export.Writer.
func (s *sentences) Write(e *event.Event) error {
	head := fmt.Sprintf("%s #%d ", ui.Time(ui.Nanos(e.Wall), s.a.zone()), e.Seq)
	_, err := fmt.Fprintln(s.w, s.p.Paint(ui.Dim, head)+s.p.Paint(report.StyleOf(e), report.Sentence(e)))
	return err
}

// Flush implements export.Writer.
func (s *sentences) Flush() error { return s.w.Flush() }
