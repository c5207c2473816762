//go:build !wasip1

package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/astrid-os/processledger/guest/ipc"
)

func ExampleTool() {
	Tool("greet", "Says hello.", nil, func(c Call) (any, error) {
		var in struct{ Name string }
		if err := c.Decode(&in); err != nil {
			return nil, err
		}
		return "hello, " + in.Name, nil
	})

	// A test of the tool needs no host:
	r := CallTool(Call{CallID: "c1", Name: "greet", Arguments: json.RawMessage(`{"name":"Ada"}`)})
	fmt.Println(r.Content, r.IsError)
	// Output: hello, Ada false
}

func ExampleIntercept() {
	Intercept("before_publish", func(payload []byte) Answer {
		if strings.Contains(string(payload), "secret") {
			return Answer{Action: Deny}
		}
		return Answer{Action: Continue}
	})
	fmt.Println(Dispatch("before_publish", []byte(`"a secret"`)).Action)
	// Output: deny
}

func TestDispatch(t *testing.T) {
	Handle("fails", func([]byte) ([]byte, error) { return nil, errors.New("no luck") })
	Handle("silent", func([]byte) ([]byte, error) { return nil, nil })
	Handle("echo", func(p []byte) ([]byte, error) { return p, nil })
	Intercept("ends", func(p []byte) Answer { return Answer{Final, p} })
	for _, c := range []struct{ action, payload, returned, data string }{
		{"fails", "", "abort", `{"error":"no luck"}`},
		{"silent", "", "continue", ""},
		{"echo", "x", "continue", "x"},
		{"echo", "\xff", "abort", `{"error":"the answer to echo is not UTF-8"}`},
		{"ends", "x", "final", "x"},
		{"nobody", "", "abort", `{"error":"unknown hook action: nobody"}`},
	} {
		if a := Dispatch(c.action, []byte(c.payload)); a.Action != c.returned || string(a.Data) != c.data {
			t.Errorf("%s %s: %s %s, want %s %s", c.action, c.payload, a.Action, a.Data, c.returned, c.data)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("an action has two handlers")
		}
	}()
	Handle("echo", nil)
}

func TestTool(t *testing.T) {
	Tool("sum", "Adds.", nil, func(c Call) (any, error) {
		var in struct{ Numbers []int }
		if err := c.Decode(&in); err != nil {
			return nil, err
		}
		total := 0
		for _, n := range in.Numbers {
			total += n
		}
		return map[string]int{"total": total}, nil
	})
	Tool("talks", "Says too much.", nil, func(Call) (any, error) { return strings.Repeat("\n", ipc.MaxPayload/2), nil })
	Tool("odd", "Is not JSON.", nil, func(Call) (any, error) { return func() {}, nil })
	for payload, want := range map[string]ipc.ToolResult{
		`{"call_id":"1","tool_name":"sum","arguments":{"numbers":[1,2]}}`: {CallID: "1", Content: `{"total":3}`},
		`{"call_id":"1","tool_name":"sum"}`:                               {CallID: "1", Content: `{"total":0}`},
		`{"call_id":"1","tool_name":"sum","arguments":{"nubmers":[1]}}`:   {CallID: "1", Content: `arguments: json: unknown field "nubmers"`, IsError: true},
		`{"call_id":"1","tool_name":"talks"}`:                             {CallID: "1", Content: "the tool's answer has 524288 bytes, too many for one message", IsError: true},
		`{"call_id":"1","tool_name":"odd"}`:                               {CallID: "1", Content: "the tool's answer is not JSON: json: unsupported type: func()", IsError: true},
		`{"tool_name":"none"}`:                                            {Content: `no tool has the name "none"`, IsError: true},
	} {
		var c Call
		if err := json.Unmarshal([]byte(payload), &c); err != nil {
			t.Fatal(err)
		}
		if r := CallTool(c); r != want {
			t.Errorf("%s: %+v, want %+v", payload, r, want)
		}
	}
}

// TestToolAction holds that a tool's result is published, and not returned.
func TestToolAction(t *testing.T) {
	defer func(p func(string, ipc.ToolResult) error) { publish = p }(publish)
	Tool("one", "Is one.", map[string]any{"type": "object"}, func(Call) (any, error) { return 1, nil })
	var topic string
	var result ipc.ToolResult
	publish = func(tool string, r ipc.ToolResult) error {
		topic, result = ipc.ToolResultTopic(tool), r
		return nil
	}
	a := Dispatch("tool_execute_one", []byte(`{"call_id":"c1","tool_name":"one","arguments":{}}`))
	if a.Action != Continue || a.Data != nil || topic != "tool.v1.execute.one.result" || result != (ipc.ToolResult{CallID: "c1", Content: "1"}) {
		t.Errorf("answered %s %s, published %+v on %s", a.Action, a.Data, result, topic)
	}
	if a := Dispatch("tool_execute_one", []byte(`[`)); a.Action != Abort || !strings.Contains(string(a.Data), "no tool call") {
		t.Errorf("answered %s %s", a.Action, a.Data)
	}
	publish = func(string, ipc.ToolResult) error { return ipc.ErrDenied }
	if a := Dispatch("tool_execute_one", []byte(`{}`)); a.Action != Abort || string(a.Data) != `{"error":"ipc: capability-denied"}` {
		t.Errorf("answered %s %s", a.Action, a.Data)
	}

	var described struct {
		Tools []struct {
			Name        string         `json:"name"`
			InputSchema map[string]any `json:"input_schema"`
		} `json:"tools"`
	}
	a = Dispatch("tool_describe", nil)
	if err := json.Unmarshal(a.Data, &described); err != nil || len(described.Tools) < 2 {
		t.Fatalf("tool_describe: %s, %v", a.Data, err)
	}
	for i, d := range described.Tools {
		if d.InputSchema["type"] != "object" || (i > 0 && d.Name < described.Tools[i-1].Name) {
			t.Errorf("tool_describe: %+v", d)
		}
	}
}
