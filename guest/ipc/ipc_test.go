//go:build !wasip1

package ipc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/astrid-os/processledger/guest/internal/mem"
)

func ExampleSubscribe() {
	sub, err := Subscribe("astrid.process.v1.exited.*")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sub.Drop()
	e, err := sub.Recv(5 * time.Second)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range e.Messages {
		fmt.Printf("%s: %s\n", m.Topic, m.Payload)
	}
	// Output: guest: not running in a capsule
}

func TestLayout(t *testing.T) {
	messages := mem.NewBlock(72)
	for i, m := range []Message{
		{Topic: "a.b", Payload: []byte(`{"n":1}`), SourceID: "c1", Principal: Principal{Claimed, "alice"}},
		{Topic: "a.c", Payload: []byte(`2`), Principal: Principal{Attribution: System}},
	} {
		at := uint32(36 * i)
		mem.Give(messages, at, []byte(m.Topic))
		mem.Give(messages, at+8, m.Payload)
		mem.Give(messages, at+16, []byte(m.SourceID))
		messages.U8(at+24, uint8(m.Principal.Attribution))
		mem.Give(messages, at+28, []byte(m.Principal.Name))
	}
	result := mem.NewBlock(32)
	mem.Give(result, 8, messages.View())
	result.U32(12, 2)
	result.U64(16, 5)
	result.U64(24, 6)
	e := liftEnvelope(result.View(), 8)
	if e.Dropped != 5 || e.Lagged != 6 || len(e.Messages) != 2 {
		t.Fatalf("envelope %+v", e)
	}
	var one struct{ N int }
	if m := e.Messages[0]; m.Topic != "a.b" || m.SourceID != "c1" || m.Principal != (Principal{Claimed, "alice"}) || m.Decode(&one) != nil || one.N != 1 {
		t.Errorf("message %+v", m)
	}
	if m := e.Messages[1]; m.Topic != "a.c" || string(m.Payload) != "2" || m.Principal != (Principal{Attribution: System}) || m.Decode(&one) == nil {
		t.Errorf("message %+v", m)
	}

	binding := mem.NewBlock(24)
	binding.U64(0, 1<<40)
	mem.Give(binding, 8, []byte("tool_execute_x"))
	mem.Give(binding, 16, []byte("tool.v1.execute.x"))
	list := mem.NewBlock(16)
	mem.Give(list, 4, binding.View())
	list.U32(8, 1)
	if all := liftBindings(list.View()); !slices.Equal(all, []Binding{{1 << 40, "tool_execute_x", "tool.v1.execute.x"}}) {
		t.Errorf("bindings %+v", all)
	}
}

func TestErrors(t *testing.T) {
	result := mem.NewBlock(32)
	result.U8(8, uint8(Unknown))
	mem.Give(result, 12, []byte("why"))
	if err := liftError(result.View(), 8); err.Error() != "ipc: unknown: why" {
		t.Error(err)
	}
	for detail, cancelled := range map[string]bool{"cancelled": true, "why": false} {
		if err := error(&Error{Code: Unknown, Detail: detail}); errors.Is(err, context.Canceled) != cancelled {
			t.Errorf("%v is context.Canceled: %t", err, !cancelled)
		}
	}
	// The host would trap a capsule for text that is not UTF-8.
	if err := Publish("a", []byte{0xff}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if err := PublishAs("a", nil, "\xff"); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if _, err := Subscribe("\xff"); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if err := PublishJSON("a", func() {}); err == nil {
		t.Error("a function is no JSON")
	}
	if err := PublishJSON("a", 1); !errors.Is(err, ErrOutside) {
		t.Error(err)
	}
}

func TestToolResult(t *testing.T) {
	if ToolResultTopic("check") != "tool.v1.execute.check.result" {
		t.Error(ToolResultTopic("check"))
	}
	r, err := DecodeToolResult([]byte(`{"type":"tool_execute_result","call_id":"c","result":{"call_id":"c","content":"x","is_error":true}}`))
	if err != nil || r != (ToolResult{"c", "x", true}) {
		t.Errorf("%+v, %v", r, err)
	}
	for _, s := range []string{`{"type":"other"}`, `x`} {
		if _, err := DecodeToolResult([]byte(s)); err == nil {
			t.Errorf("%s is no tool result", s)
		}
	}
}
