//go:build linux

package act

import (
	"syscall"
	"testing"
	"time"

	"github.com/astrid-os/processledger/ledger/event"
)

func TestTheOrphanOrderFiresAlone(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		s := h.sh("(setsid sleep 1000 &); sleep 1001")
		s.Orders = event.Orders{OrphanNano: seconds(0.3)}
		c := h.start(s)
		h.started(c)
		h.reopen()
		h.until("the exit record", func() bool { return h.look(c.ID()).Exit != nil })
		x := h.look(c.ID()).Exit
		if x.Order != "orphan" || x.DueBoot == 0 || x.Exited.Cause != "orphaned" || ending(x.Exited.Exit) != "signal 9" {
			t.Errorf("recorded %+v", x)
		}
	})
}

func TestAdoptionStopsTheOrphanClock(t *testing.T) {
	t.Parallel()
	h := newHouse(t, IsolationNone)
	s := h.spec("sleep", "1000")
	s.Orders = event.Orders{OrphanNano: seconds(0.5)}
	c := h.start(s)
	h.started(c)
	h.reopen()
	c, err := h.hands.Adopt(t.Context(), c.ID())
	if err != nil {
		t.Fatal(err)
	}
	h.started(c)
	select {
	case n := <-c.Notices():
		t.Errorf("an adopted program ended: %s", show(n))
	case <-time.After(time.Second):
	}
	h.kill(c)
}

func TestTheLifetimeOrderFiresAlone(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, h *house) {
		for _, c := range []struct{ script, want string }{
			{"trap 'echo bye; exit 3' TERM; while :; do sleep 0.01; done", "code 3"},
			{"trap '' TERM; while :; do sleep 0.01; done", "signal 9"},
		} {
			s := h.sh(c.script)
			s.Orders = event.Orders{LifetimeNano: seconds(0.4), GraceNano: seconds(0.3)}
			child := h.start(s)
			st := h.started(child)
			h.reopen()
			h.until("the exit record", func() bool { return h.look(child.ID()).Exit != nil })
			x := h.look(child.ID()).Exit
			if x.Order != "lifetime" || x.Exited.Cause != "lifetime" || ending(x.Exited.Exit) != c.want {
				t.Errorf("recorded %+v", x)
			}
			if due := st.StartedBoot + s.Orders.LifetimeNano; x.DueBoot != due || x.Exited.EndedBoot < due {
				t.Errorf("due %d, recorded %d, ended %d", due, x.DueBoot, x.Exited.EndedBoot)
			}
		}
	})
}

func TestAnOrderThatFiredIsToldToTheNextDaemon(t *testing.T) {
	h := newHouse(t, IsolationNone)
	s := h.sh("trap 'echo term' TERM; echo up; while :; do sleep 0.01; done")
	s.Orders = event.Orders{LifetimeNano: seconds(0.3), GraceNano: seconds(1000)}
	c := h.start(s)
	st := h.started(c)
	h.waitOutput(c, "up")
	h.reopen()
	time.Sleep(time.Until(time.Unix(0, st.StartedWall+s.Orders.LifetimeNano)))
	h.until("the order fired", func() bool {
		c, err := h.hands.Adopt(t.Context(), s.ID)
		if err != nil {
			t.Fatal(err)
		}
		h.started(c)
		select {
		case n := <-c.Notices():
			return n.Fired != nil && n.Fired.Timer == "lifetime" && n.Fired.DueBoot == st.StartedBoot+s.Orders.LifetimeNano
		default:
			c.Close()
			return false
		}
	})
	c, _ = h.hands.Child(s.ID)
	if x := h.kill(c); x.Order != "lifetime" || x.Exited.Cause != "kill" {
		t.Errorf("ended %s", show(Notice{Exited: x}))
	}
}

func TestTheShimGoesOnWithALifetimeThatTheDaemonBegan(t *testing.T) {
	h := newHouse(t, IsolationNone)
	s := h.sh("trap '' TERM; echo up; while :; do sleep 0.01; done")
	s.Orders = event.Orders{LifetimeNano: seconds(1000), GraceNano: seconds(0.3)}
	c := h.start(s)
	h.started(c)
	h.waitOutput(c, "up")
	h.signal(c, int(syscall.SIGTERM), event.TargetTree, "lifetime")
	h.reopen()
	h.until("the exit record", func() bool { return h.look(s.ID).Exit != nil })
	if x := h.look(s.ID).Exit; x.Order != "lifetime" || x.Exited.Cause != "lifetime" || ending(x.Exited.Exit) != "signal 9" {
		t.Errorf("recorded %+v", x)
	}
}

func TestTheShimActsWhenAConnectedDaemonDoesNot(t *testing.T) {
	t.Parallel()
	h := newHouse(t, IsolationNone)
	s := h.spec("sleep", "1000")
	s.Orders = event.Orders{LifetimeNano: seconds(0.1), GraceNano: seconds(1)}
	c := h.start(s)
	h.started(c)
	n := h.next(c)
	if n.Fired == nil || n.Fired.Timer != "lifetime" || n.Fired.DueBoot == 0 {
		t.Errorf("got %s", show(n))
	}
	if x := h.exited(c); x.Order != "lifetime" || x.Exited.Cause != "lifetime" || ending(x.Exited.Exit) != "signal 15" {
		t.Errorf("ended %s", show(Notice{Exited: x}))
	}
}
