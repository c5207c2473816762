package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/ui"
)

// logsFlags are the flags of logs.
type logsFlags struct {
	query      control.LogsQuery
	showCursor bool
	json       *jsonFlag
}

func newLogs(a *app) *cobra.Command {
	f := &logsFlags{}
	cmd := &cobra.Command{
		Use: "logs ID", Short: "Show what a process has written", Args: oneArg("id"),
		Long: `Show what a process has written, as far as its output is kept: its standard
output on standard output, its standard error on standard error. Its capsule
reads its own output all the same, and looking is no use that keeps it from being
ended as idle.

With -f the verb goes on until both streams end. A cursor is of one stream, so
that it needs --stream; what the stream had before it and still has is left out.
What is not kept any more is told, with how much it was.

ID is a process's id or a unique beginning of it, as astridctl ps -a shows them.
Exit code 3 if no such process is held.`,
		Example: "  astridctl logs 01KKNT -f\n  astridctl logs 01KKNT --stream stderr --show-cursor",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.logs(cmd.Context(), args[0], f) },
	}
	fl := cmd.Flags()
	fl.BoolVarP(&f.query.Follow, "follow", "f", false, "go on with what is written from now on")
	fl.StringVar(&f.query.Stream, "stream", "", "only `STREAM`: stdout or stderr")
	fl.StringVar(&f.query.Cursor, "after-cursor", "", "only what comes after the `CURSOR` of an earlier time")
	fl.BoolVar(&f.showCursor, "show-cursor", false, "tell the cursor in the end, on standard error")
	f.json = addJSON(cmd, chunkFields)
	return cmd
}

// chunkFields are the fields of control.LogChunk's JSON.
var chunkFields = []string{"stream", "data", "next", "dropped", "eof"}

func (a *app) logs(ctx context.Context, id string, f *logsFlags) error {
	switch q := &f.query; {
	case q.Stream != "" && q.Stream != control.Stdout && q.Stream != control.Stderr:
		return usagef("--stream %q: use stdout or stderr", q.Stream)
	case q.Cursor != "" && q.Stream == "":
		return usagef("a cursor is of one stream; name it with --stream")
	}
	if err := f.json.check(); err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	if f.query.ID, err = heldHandle(ctx, c, id); err != nil {
		return err
	}
	cursors, err := a.writeLogs(ctx, c, f)
	if ctx.Err() != nil && f.query.Follow {
		err = nil // -f may end this way
	}
	if f.showCursor {
		for _, stream := range []string{control.Stdout, control.Stderr} {
			if cursors[stream] != "" {
				a.note("cursor of %s: %s", stream, cursors[stream])
			}
		}
	}
	return err
}

// writeLogs writes the chunks and returns the cursors behind them. A daemon that
// makes way for another one is no end of them.
func (a *app) writeLogs(ctx context.Context, c *control.Client, f *logsFlags) (map[string]string, error) {
	t := &logsTold{cursors: map[string]string{}, over: map[string]bool{}}
	if f.query.Cursor != "" {
		t.cursors[f.query.Stream] = f.query.Cursor
	}
	q := f.query
	for {
		err := a.writeSome(ctx, c, &q, t, f)
		if !f.query.Follow || !control.IsRestarting(err) {
			return t.cursors, err
		}
		if q.Stream != "" {
			q.Cursor = t.cursors[q.Stream]
		} else {
			q.AfterStdout, q.AfterStderr = t.cursors[control.Stdout], t.cursors[control.Stderr]
		}
	}
}

// logsTold is how far the output has been told.
type logsTold struct {
	cursors map[string]string // by stream
	over    map[string]bool   // the end was told
}

// writeSome writes what one daemon sends.
func (a *app) writeSome(ctx context.Context, c *control.Client, q *control.LogsQuery, t *logsTold, f *logsFlags) error {
	lines, err := c.Logs(ctx, q)
	if err != nil {
		return err
	}
	defer lines.Close()
	for chunk, err := range lines.All() {
		if err != nil {
			return err
		}
		if !t.over[chunk.Stream] {
			if err := a.writeChunk(chunk, f); err != nil {
				return err
			}
		}
		t.cursors[chunk.Stream], t.over[chunk.Stream] = chunk.Next, chunk.EOF
	}
	return nil
}

// writeChunk writes one chunk: exact, but on a terminal, which could act on it.
func (a *app) writeChunk(chunk *control.LogChunk, f *logsFlags) error {
	if f.json.on() {
		return f.json.write(a.stdout, chunk)
	}
	if chunk.Dropped > 0 {
		a.note("%s of %s are not kept any more", ui.Bytes(chunk.Dropped), chunk.Stream)
	}
	w := a.stdout
	if chunk.Stream == control.Stderr {
		w = a.stderr
	}
	if ui.IsTerminal(w) {
		_, err := io.WriteString(w, ui.SafeText(string(chunk.Data)))
		return err
	}
	_, err := w.Write(chunk.Data)
	return err
}
