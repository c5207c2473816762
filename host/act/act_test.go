//go:build linux

package act

import (
	"testing"
)

func TestExitCodesAndSignalsAreTrue(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		for _, c := range []struct{ script, want string }{
			{"exit 0", "code 0"},
			{"exit 7", "code 7"},
			{"exit 137", "code 137"},
			{"kill -TERM $$", "signal 15"},
			{"kill -KILL $$", "signal 9"},
			{"kill -SEGV $$", "signal 11"},
		} {
			x, child := h.run(h.sh("echo out; echo err >&2; " + c.script))
			if got := ending(x.Exited.Exit); got != c.want {
				t.Errorf("%q ended with %s, want %s", c.script, got, c.want)
			}
			if out, errs := h.drain(child); out != "out\n" || errs != "err\n" {
				t.Errorf("%q wrote %q and %q", c.script, out, errs)
			}
			t.Logf("%+v", x.Exited)
		}
	})
}
