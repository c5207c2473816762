package ipc

import (
	"encoding/json"
	"fmt"
)

// ToolResult is what a tool's call comes to, as its caller sees it.
type ToolResult struct {
	CallID  string `json:"call_id"` // of the call that is answered
	Content string `json:"content"` // text, or JSON in a string
	IsError bool   `json:"is_error"`
}

// toolResult is how a result stands on the bus.
type toolResult struct {
	Type   string     `json:"type"`
	CallID string     `json:"call_id"`
	Result ToolResult `json:"result"`
}

// ToolTopic returns the topic on which calls of a tool arrive.
func ToolTopic(tool string) string { return "tool.v1.execute." + tool }

// ToolResultTopic returns the topic on which results of a tool are published.
func ToolResultTopic(tool string) string { return ToolTopic(tool) + ".result" }

// DescribeTopic is where a capsule's answer to a request to describe its tools
// is published.
const DescribeTopic = "tool.v1.response.describe.self"

// PublishToolResult publishes what a call of a tool came to. Package guest does
// it for the tools that it knows.
func PublishToolResult(tool string, r ToolResult) error {
	return PublishJSON(ToolResultTopic(tool), toolResult{Type: "tool_execute_result", CallID: r.CallID, Result: r})
}

// DecodeToolResult reads the payload of a message on a tool's result topic.
func DecodeToolResult(payload []byte) (ToolResult, error) {
	var r toolResult
	if err := json.Unmarshal(payload, &r); err != nil {
		return ToolResult{}, fmt.Errorf("ipc: tool result: %w", err)
	}
	if r.Type != "tool_execute_result" {
		return ToolResult{}, fmt.Errorf("ipc: tool result: the payload's type is %q", r.Type)
	}
	return r.Result, nil
}
