package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
)

func ExampleTool() {
	Tool("greet", "Says hello.", nil, func(c Call) (any, error) {
		var in struct{ Name string }
		if err := c.Decode(&in); err != nil {
			return nil, err
		}
		return "hello, " + in.Name, nil
	})

	// The host calls the action with the tool call as its payload:
	action, data := dispatch("tool_execute_greet", []byte(`{"call_id":"c1","tool_name":"greet","arguments":{"name":"Ada"}}`))
	fmt.Println(action, string(data))
	// Output: continue {"call_id":"c1","content":"hello, Ada","is_error":false}
}

func TestDispatch(t *testing.T) {
	Handle("fails", func([]byte) ([]byte, error) { return nil, errors.New("no luck") })
	Handle("silent", func([]byte) ([]byte, error) { return nil, nil })
	Tool("sum", "Adds.", nil, func(c Call) (any, error) {
		var in struct{ Numbers []int }
		if err := c.Decode(&in); err != nil {
			return nil, err
		}
		total := 0
		for _, n := range in.Numbers {
			total += n
		}
		return total, nil
	})
	for _, c := range []struct{ action, payload, returned, data string }{
		{"fails", "", "abort", `{"error":"no luck"}`},
		{"silent", "", "continue", ""},
		{"nobody", "", "abort", `{"error":"unknown hook action: nobody"}`},
		{"tool_execute_sum", `{"call_id":"1","arguments":{"numbers":[1,2]}}`, "continue", `{"call_id":"1","content":3,"is_error":false}`},
		{"tool_execute_sum", `{"call_id":"1"}`, "continue", `{"call_id":"1","content":0,"is_error":false}`},
		{"tool_execute_sum", `{"call_id":"1","arguments":{"nubmers":[1]}}`, "continue", `{"call_id":"1","content":"arguments: json: unknown field \"nubmers\"","is_error":true}`},
		{"tool_execute_sum", `[`, "abort", `{"error":"payload is no tool call: unexpected end of JSON input"}`},
	} {
		returned, data := dispatch(c.action, []byte(c.payload))
		if returned != c.returned || string(data) != c.data {
			t.Errorf("%s %s: %s %s, want %s %s", c.action, c.payload, returned, data, c.returned, c.data)
		}
	}
	_, data := dispatch("tool_describe", nil)
	var described struct {
		Tools []struct {
			Name        string         `json:"name"`
			InputSchema map[string]any `json:"input_schema"`
		} `json:"tools"`
	}
	if err := json.Unmarshal(data, &described); err != nil || len(described.Tools) == 0 || described.Tools[len(described.Tools)-1].Name != "sum" {
		t.Errorf("tool_describe: %s, %v", data, err)
	}
}
