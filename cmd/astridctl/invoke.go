package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/ui"
)

func newInvoke(a *app) *cobra.Command {
	in := &control.Invocation{}
	var payload string
	var j *jsonFlag
	cmd := &cobra.Command{
		Use: "invoke --principal P --capsule C --action A", Short: "Call a capsule and wait for its answer", Args: noArgs,
		Long: `Call a capsule on behalf of a principal and print what it answers.

The payload is JSON: the text itself, @FILE, or @- or - for standard input. The
call id groups everything that the call causes, so that it can be found and
cancelled; without one the daemon makes one and the answer names it.

The answer's data goes to standard output as it is, and so does the content of
a tool's result, which a tool publishes instead of answering with data; with
--json the whole answer. Exit code 5 if the capsule denies or aborts, 1 if the call was cancelled
or took too long, also if the capsule answered all the same.`,
		Example: `  astridctl invoke --principal alice --capsule builder --action tool_execute_build --payload '{"arguments":{}}'`,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.invoke(cmd.Context(), in, payload, j) },
	}
	f := cmd.Flags()
	f.StringVar(&in.Principal, "principal", "", "on behalf of `NAME`")
	f.StringVar(&in.Capsule, "capsule", "", "the capsule's `NAME`")
	f.StringVar(&in.Action, "action", "", "the `NAME` of the handler, such as tool_execute_build")
	f.StringVar(&in.CallID, "call-id", "", "`ID` of the call")
	f.StringVar(&payload, "payload", "", "JSON `TEXT`, @FILE, or - for standard input")
	j = addJSON(cmd, answerFields)
	return cmd
}

// answerFields are the fields of control.Answer's JSON.
var answerFields = []string{"call_id", "instance", "outcome", "action", "data", "published", "took_ns"}

func (a *app) invoke(ctx context.Context, in *control.Invocation, payload string, j *jsonFlag) error {
	for _, f := range []struct{ name, value string }{{"--principal", in.Principal}, {"--capsule", in.Capsule}, {"--action", in.Action}} {
		if f.value == "" {
			return usagef("invoke needs %s", f.name)
		}
	}
	if err := j.check(); err != nil {
		return err
	}
	var err error
	if in.Payload, err = a.payload(payload); err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	answer, err := a.callCapsule(ctx, c, in)
	if err != nil {
		return err
	}
	if err := a.showAnswer(answer, j); err != nil {
		return err
	}
	switch {
	case answer.Action == "deny" || answer.Action == "abort":
		return &codedError{exitDenied, fmt.Errorf("the capsule answered %q", answer.Action)}
	case answer.Outcome != "ok":
		return fmt.Errorf("the call ended early: %s", answer.Outcome)
	}
	return nil
}

func (a *app) callCapsule(ctx context.Context, c *control.Client, in *control.Invocation) (*control.Answer, error) {
	p := ui.StartProgress(a.stderr, "waiting for "+in.Capsule)
	defer p.Stop()
	return c.Invoke(ctx, in)
}

// payload reads what --payload names; it must be JSON.
func (a *app) payload(arg string) (json.RawMessage, error) {
	var b []byte
	var err error
	name, isFile := strings.CutPrefix(arg, "@")
	switch {
	case arg == "":
		return nil, nil
	case arg == "-" || arg == "@-":
		b, err = io.ReadAll(a.stdin)
	case isFile:
		b, err = os.ReadFile(name)
	default:
		b = []byte(arg)
	}
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	if !json.Valid(b) {
		return nil, ui.Hint(usagef("the payload is not JSON"), `quote it for the shell, for example '{"arguments":{"dir":"."}}'`)
	}
	return b, nil
}

// showAnswer prints the guest's data as it is: it is the answer. On a terminal
// it is made safe first.
func (a *app) showAnswer(answer *control.Answer, j *jsonFlag) error {
	if j.on() {
		return j.write(a.stdout, answer)
	}
	a.note("call %s answered %q after %s", answer.CallID, answer.Action, ui.Duration(time.Duration(answer.TookNano)))
	if answer.Data != nil {
		if err := a.showText(*answer.Data); err != nil {
			return err
		}
	}
	for _, p := range answer.Published {
		content, failed := resultOf(p.Payload)
		if failed {
			a.note("the tool says that it has failed")
		}
		if err := a.showText(content); err != nil {
			return err
		}
	}
	return nil
}

// resultOf returns the content of a tool's result, and whether it tells of a
// failure; of any other payload its JSON.
func resultOf(payload json.RawMessage) (content string, failed bool) {
	var p struct {
		Type   string `json:"type"`
		Result struct {
			Content string `json:"content"`
			IsError bool   `json:"is_error"`
		} `json:"result"`
	}
	if err := json.Unmarshal(payload, &p); err != nil || p.Type != "tool_execute_result" {
		return string(payload), false
	}
	return p.Result.Content, p.Result.IsError
}

// showText prints what a guest has said, ending in a newline.
func (a *app) showText(text string) error {
	if ui.IsTerminal(a.stdout) {
		text = ui.SafeText(text)
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	_, err := io.WriteString(a.stdout, text)
	return err
}
