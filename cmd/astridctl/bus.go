package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/ui"
)

// busFlags are the flags of bus.
type busFlags struct {
	topic  string
	count  int
	follow bool
	json   *jsonFlag
}

func newBus(a *app) *cobra.Command {
	f := &busFlags{}
	cmd := &cobra.Command{
		Use: "bus", Short: "Show messages that capsules and the host publish", Args: noArgs,
		Long: `Show messages of the bus from now on: what capsules tell each other, the results
of tools, and what becomes of watched processes. Nothing of it is kept, so there
is nothing from before.

The verb waits for one message, or for -n of them, and leaves; with -f it goes
on. A topic pattern is a topic, or a beginning of one that ends in ".*".`,
		Example: "  astridctl bus -f\n  astridctl bus --topic 'astrid.process.v1.exited.*'\n  astridctl bus -f --topic 'tool.v1.*' --json",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.bus(cmd.Context(), f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.topic, "topic", "", "only messages whose topic fits the `PATTERN`")
	fl.IntVarP(&f.count, "count", "n", 1, "leave after `N` messages")
	fl.BoolVarP(&f.follow, "follow", "f", false, "go on until interrupted")
	f.json = addJSON(cmd, messageFields)
	return cmd
}

// messageFields are the fields of control.BusMessage's JSON.
var messageFields = []string{"at", "topic", "payload", "source_id", "principal", "dropped", "lagged"}

func (a *app) bus(ctx context.Context, f *busFlags) error {
	if f.count < 1 {
		return usagef("-n %d: name a number from 1 on", f.count)
	}
	if err := f.json.check(); err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	for {
		err := a.listen(ctx, c, f)
		switch {
		case ctx.Err() != nil && f.follow:
			return nil
		case !control.IsRestarting(err):
			return err
		}
		a.note("the daemon is being restarted; what is published until listening goes on is not shown")
	}
}

// listen shows the messages of one daemon. f.count is how many are still to come.
func (a *app) listen(ctx context.Context, c *control.Client, f *busFlags) error {
	lines, err := c.Bus(ctx, f.topic)
	if err != nil {
		return err
	}
	defer lines.Close()
	a.note("listening") // what is published from here on is seen
	for m, err := range lines.All() {
		if err == nil {
			err = a.writeMessage(m, f)
		}
		if err != nil {
			return err
		}
		if f.count--; f.count == 0 && !f.follow {
			return nil
		}
	}
	return errors.New("the bus has ended") // not reached: it ends with an error
}

func (a *app) writeMessage(m *control.BusMessage, f *busFlags) error {
	if f.json.on() {
		return f.json.write(a.stdout, m)
	}
	if m.Dropped > 0 {
		a.note("%s before this one were lost: they came too fast", ui.Count(m.Dropped, "message"))
	}
	by := m.Principal.Kind
	if m.Principal.Name != "" {
		by += " " + m.Principal.Name
	}
	_, err := fmt.Fprintf(a.stdout, "%s  %s  %s  %s\n", ui.Time(m.At, a.zone()), ui.Safe(m.Topic), ui.Safe(by), ui.Safe(string(m.Payload)))
	return err
}
