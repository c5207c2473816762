package guest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/astrid-os/processledger/guest/ipc"
)

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

// ToolFunc is what a tool does. A string is the result's content as it is,
// anything else its JSON text. An error is a result too, with the text of the
// error and is_error.
type ToolFunc func(Call) (any, error)

// tool is a registered tool, and how tool_describe lists it.
type tool struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	InputSchema any    `json:"input_schema"`

	f ToolFunc
}

var tools = map[string]*tool{}

// Tool registers a tool under the action tool_execute_NAME, which the manifest
// binds to the topic tool.v1.execute.NAME. What f returns is published as the
// tool's result on tool.v1.execute.NAME.result, and the action answers continue
// without data. schema is the JSON Schema of the arguments; nil stands for any
// object.
//
// The action tool_describe, bound to tool.v1.request.describe, answers with all
// tools and publishes them on [ipc.DescribeTopic].
func Tool(name, about string, schema any, f ToolFunc) {
	if schema == nil {
		schema = map[string]any{"type": "object"}
	}
	Handle("tool_execute_"+name, func(payload []byte) ([]byte, error) {
		var c Call
		if err := json.Unmarshal(payload, &c); err != nil {
			return nil, fmt.Errorf("payload is no tool call: %w", err)
		}
		c.Name = name
		return nil, publish(name, CallTool(c))
	})
	if len(tools) == 0 {
		Handle("tool_describe", describe)
	}
	tools[name] = &tool{Name: name, Description: about, InputSchema: schema, f: f}
}

// publish is how results reach the bus; a test listens here.
var publish = ipc.PublishToolResult

// CallTool runs a registered tool and returns its result, which it does not
// publish. It is for tests of tools.
func CallTool(c Call) ipc.ToolResult {
	r := ipc.ToolResult{CallID: c.CallID}
	content, err := call(c)
	if err == nil {
		r.Content, err = text(content)
	}
	if err != nil {
		r.Content, r.IsError = strings.ToValidUTF8(err.Error(), "\uFFFD"), true
	}
	return r
}

func call(c Call) (any, error) {
	t := tools[c.Name]
	if t == nil {
		return nil, fmt.Errorf("no tool has the name %q", c.Name)
	}
	return t.f(c)
}

// maxContent bounds what a tool may answer, in bytes: with quotes and escapes
// around it, it has to fit into one message of the bus.
const maxContent = ipc.MaxPayload * 3 / 4

// text returns a result's content.
func text(content any) (string, error) {
	s, ok := content.(string)
	if !ok {
		b, err := json.Marshal(content)
		if err != nil {
			return "", fmt.Errorf("the tool's answer is not JSON: %w", err)
		}
		s = string(b)
	}
	if quoted, err := json.Marshal(s); err != nil || len(quoted) > maxContent {
		return "", fmt.Errorf("the tool's answer has %d bytes, too many for one message", len(s))
	}
	return s, nil
}

func describe([]byte) ([]byte, error) {
	all := make([]*tool, 0, len(tools))
	for _, t := range tools {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *tool) int { return strings.Compare(a.Name, b.Name) })
	data, err := json.Marshal(map[string]any{"tools": all})
	if err == nil {
		// Who called gets the list in the answer, whether or not the manifest
		// lets the capsule publish it for others.
		_ = ipc.Publish(ipc.DescribeTopic, data)
	}
	return data, err
}
