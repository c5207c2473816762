//go:build linux

package shim

import "testing"

// TestArmWithoutAnAlarm holds that orders are looked at again although the
// kernel refuses the alarm, and that one look is waited for at a time.
func TestArmWithoutAnAlarm(t *testing.T) {
	s := &supervisor{alarm: &alarm{fd: -1}}
	s.arm()
	first := s.again
	if first == nil {
		t.Fatal("nothing stands in for the alarm")
	}
	if s.arm(); s.again != first {
		t.Error("a second look is waited for")
	}
}
