package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Handler answers one action. What it returns is the answer's data, which must
// be UTF-8; nil is none. An error aborts, with its text as {"error": "…"}.
type Handler func(payload []byte) ([]byte, error)

var handlers = map[string]Handler{}

// Handle registers the handler of an action; the manifest's [subscribe] names
// it too. It panics if there is one already.
func Handle(action string, h Handler) {
	if handlers[action] != nil {
		panic("guest: two handlers for " + action)
	}
	handlers[action] = h
}

// Call is a call of a tool.
type Call struct {
	CallID    string          `json:"call_id"`
	Name      string          `json:"tool_name"`
	Arguments json.RawMessage `json:"arguments"`
}

// Decode reads the arguments into v, as json.Unmarshal would. No arguments
// leave v as it is; one that v has no field for is an error, since a misspelt
// argument would be silently without effect.
func (c Call) Decode(v any) error {
	if len(c.Arguments) == 0 || string(c.Arguments) == "null" {
		return nil
	}
	d := json.NewDecoder(strings.NewReader(string(c.Arguments)))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("arguments: %w", err)
	}
	return nil
}

// Result is what a tool's call comes to, as its caller sees it.
type Result struct {
	CallID  string `json:"call_id"`
	Content any    `json:"content"`
	IsError bool   `json:"is_error"`
}

// description is one tool as tool_describe lists it.
type description struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	InputSchema any    `json:"input_schema"`
}

var tools []description

// Tool registers a tool: the action tool_execute_NAME, whose data is a
// [Result] in JSON with what f returned as its content, or with the text of
// f's error and is_error. schema is the JSON Schema of the arguments; nil
// stands for any object. The action tool_describe lists all tools.
func Tool(name, about string, schema any, f func(Call) (any, error)) {
	if schema == nil {
		schema = map[string]any{"type": "object"}
	}
	Handle("tool_execute_"+name, func(payload []byte) ([]byte, error) {
		var c Call
		if err := json.Unmarshal(payload, &c); err != nil {
			return nil, fmt.Errorf("payload is no tool call: %w", err)
		}
		content, err := f(c)
		if err != nil {
			content = err.Error()
		}
		return json.Marshal(Result{CallID: c.CallID, Content: content, IsError: err != nil})
	})
	if len(tools) == 0 {
		Handle("tool_describe", describe)
	}
	tools = append(tools, description{Name: name, Description: about, InputSchema: schema})
}

func describe([]byte) ([]byte, error) {
	all := slices.Clone(tools)
	slices.SortFunc(all, func(a, b description) int { return strings.Compare(a.Name, b.Name) })
	return json.Marshal(map[string]any{"tools": all})
}

// dispatch runs the handler of an action.
func dispatch(action string, payload []byte) (returned string, data []byte) {
	err := errors.New("unknown hook action: " + action)
	if h := handlers[action]; h != nil {
		data, err = h(payload)
	}
	if err == nil {
		return "continue", data
	}
	data, _ = json.Marshal(map[string]string{"error": err.Error()})
	return "abort", data
}
