// Command service is a guest for the SDK's tests that works in the background:
// it answers each message with its number, and says when it was set up and when
// it has begun.
package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/astrid-os/processledger/guest/ipc"
	"github.com/astrid-os/processledger/guest/lifecycle"
	"github.com/astrid-os/processledger/guest/run"
	"github.com/astrid-os/processledger/guest/sys"
)

func main() {}

func init() {
	lifecycle.OnInstall(func() error { return say("installed") })
	lifecycle.OnUpgrade(func() error { return say("upgraded") })
	run.Main(serve)
}

func say(what string) error { return ipc.PublishJSON("service.v1.answer", what) }

// asked counts in this instance; another begins anew.
var asked int

func serve() error {
	sub, err := ipc.Subscribe("service.v1.ask")
	if err != nil {
		return err
	}
	sys.SignalReady()
	if err := say("ready"); err != nil {
		return err
	}
	for m, err := range sub.Messages() {
		switch {
		case errors.Is(err, context.Canceled):
			return say("stopped")
		case err != nil:
			return err
		case string(m.Payload) == `"fail"`:
			return errors.New("as it was told to")
		}
		asked++
		if err := say(fmt.Sprintf("%d: %s", asked, m.Payload)); err != nil {
			return err
		}
	}
	return nil
}
