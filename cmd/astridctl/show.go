package main

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/astrid-os/processledger/internal/export"
	"github.com/astrid-os/processledger/internal/report"
)

func newShow(a *app) *cobra.Command {
	var j *jsonFlag
	cmd := &cobra.Command{
		Use: "show ID", Short: "Tell one process's whole story", Args: oneArg("id"),
		Long: `Tell one process's whole story: what was asked for, how it was decided and by
which numbers, what ran and with which digest, which signals it got and from
whom, how it ended, what it used and wrote.

ID is a process's id or a unique beginning of it, an event's id, or #SEQ.`,
		Example: "  astridctl show 01KKNT\n  astridctl show '#42'",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.show(cmd.Context(), args[0], j) },
	}
	j = addJSON(cmd, storyFields)
	return cmd
}

// storyFields are the fields of report.StoryView's JSON.
var storyFields = []string{
	"handle", "status", "principal", "capsule", "instance", "call_id", "tier", "command", "args", "args_cut", "decision",
	"requested", "started", "ended", "ran_ns", "exit", "cause", "executable", "stdout", "stderr", "released", "label", "files", "persistent",
	"events",
}

func (a *app) show(ctx context.Context, id string, j *jsonFlag) error {
	src, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer src.close()
	f, err := find(ctx, src, id)
	if err != nil {
		return err
	}
	if f.story == nil {
		return a.showEvent(f, j)
	}
	if j.on() {
		if err := j.check(); err != nil {
			return err
		}
		return j.write(a.stdout, f.story.View())
	}
	return f.story.Write(a.stdout, a.look())
}

// showEvent shows an event that belongs to no process: its sentence, and the
// whole of it as JSON, indented for people.
func (a *app) showEvent(f *found, j *jsonFlag) error {
	if j.on() {
		w := export.NewJSONLines(a.stdout, j.fields()...)
		if err := export.CheckFields(j.fields(), export.EventFields); err != nil {
			return usagef("--json: %v", err)
		}
		if err := w.Write(f.event); err != nil {
			return err
		}
		return w.Flush()
	}
	b, err := json.MarshalIndent(f.event, "", "  ")
	if err != nil {
		return err
	}
	_, err = a.stdout.Write([]byte(report.Sentence(f.event) + "\n\n" + string(b) + "\n"))
	return err
}
