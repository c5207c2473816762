// Command service is a guest for tests that works over the bus: it has a tool,
// asks for one, and answers pings in the background.
package main

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/astrid-os/processledger/guest"
	"github.com/astrid-os/processledger/guest/ipc"
	"github.com/astrid-os/processledger/guest/lifecycle"
	"github.com/astrid-os/processledger/guest/process"
	"github.com/astrid-os/processledger/guest/run"
	"github.com/astrid-os/processledger/guest/sys"
)

func main() {}

func init() {
	guest.Tool("echo", "says what it is told", map[string]any{"type": "object"}, func(c guest.Call) (any, error) {
		var text string
		if err := c.Decode(&text); err != nil {
			return nil, err
		}
		r, err := process.Spawn(process.Request{Cmd: "echo", Args: []string{text}})
		return r.Stdout, err
	})
	guest.Handle("ask", ask)
	run.Main(serve)
	lifecycle.OnInstall(func() error { return ipc.PublishJSON("service.installed", 1) })
}

// ask has another capsule's tool called and returns what that said.
func ask(text []byte) ([]byte, error) {
	results, err := ipc.Subscribe(ipc.ToolResultTopic("echo"))
	if err != nil {
		return nil, err
	}
	defer results.Drop()
	call := guest.Call{CallID: "asked", Name: "echo", Arguments: text}
	if err := ipc.PublishJSON(ipc.ToolTopic("echo"), call); err != nil {
		return nil, err
	}
	e, err := results.Recv(20 * time.Second)
	if err != nil || len(e.Messages) == 0 {
		return nil, errors.Join(errors.New("no result"), err)
	}
	r, err := ipc.DecodeToolResult(e.Messages[0].Payload)
	if err != nil {
		return nil, err
	}
	return json.Marshal(r.Content)
}

// serve answers pings.
func serve() error {
	pings, err := ipc.Subscribe("service.ping")
	if err != nil {
		return err
	}
	sys.SignalReady()
	for m, err := range pings.Messages() {
		if err != nil {
			return err
		}
		if err := ipc.Publish("service.pong", m.Payload); err != nil {
			return err
		}
	}
	return nil
}
