package main

import (
	"bytes"
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

The answer's data goes to standard output as it is, and without data the results
that the capsule published during the call: the content of a tool's result,
others as JSON, one a line; with --json the whole answer. Exit code 5 if the capsule denies or aborts, 1 if the call was cancelled
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
var answerFields = []string{"call_id", "instance", "outcome", "action", "data", "results", "took_ns"}

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
	var data string
	switch {
	case answer.Data != nil:
		data = *answer.Data
	case len(answer.Results) > 0:
		data = lines(answer.Results)
	default:
		return nil
	}
	if ui.IsTerminal(a.stdout) {
		data = ui.SafeText(data)
	}
	if !strings.HasSuffix(data, "\n") {
		data += "\n"
	}
	_, err := io.WriteString(a.stdout, data)
	return err
}

// lines puts what each of several results says on a line of its own: the
// content of a tool's result, any other as JSON.
func lines(all []json.RawMessage) string {
	var b bytes.Buffer
	for _, one := range all {
		if content, ok := contentOf(one); ok {
			b.WriteString(strings.TrimSuffix(content, "\n"))
		} else if json.Compact(&b, one) != nil {
			continue
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// contentOf returns the content of a tool's result.
func contentOf(result json.RawMessage) (content string, ok bool) {
	var r struct {
		Type   string `json:"type"`
		Result struct {
			Content *string `json:"content"`
		} `json:"result"`
	}
	if json.Unmarshal(result, &r) != nil || r.Type != "tool_execute_result" || r.Result.Content == nil {
		return "", false
	}
	return *r.Result.Content, true
}
