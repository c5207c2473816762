// Command selftest is a guest for the SDK's tests: each action tries one
// package of the SDK on a real host, and fails with what was not as it should
// be.
package main

import (
	"fmt"
	"strings"

	"github.com/astrid-os/processledger/guest"
)

func main() {}

func init() {
	for name, f := range map[string]func() error{
		"background": background, "files": files, "persistent": persistent, "follow": follow,
		"polls": polls, "bus": bus, "watch": watch, "system": system, "garbage": garbage,
		"cancelled": cancelled, "chatter": chatter,
	} {
		guest.Handle(name, func([]byte) ([]byte, error) { return nil, f() })
	}
	guest.Tool("echo", "Returns its arguments.", nil, func(c guest.Call) (any, error) {
		if string(c.Arguments) == "null" {
			return nil, fmt.Errorf("nothing to return")
		}
		return c.Arguments, nil
	})
}

// checks gathers what was not as it should be.
type checks struct{ wrong []string }

// that notes a complaint, unless it is as it should be.
func (c *checks) that(ok bool, format string, args ...any) {
	if !ok {
		c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
	}
}

// no notes an error.
func (c *checks) no(err error, what string) {
	c.that(err == nil, "%s: %v", what, err)
}

func (c *checks) err() error {
	if len(c.wrong) == 0 {
		return nil
	}
	return fmt.Errorf("%s", strings.Join(c.wrong, "; "))
}
