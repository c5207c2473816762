//go:build !wasip1

package process

import "testing"

func TestEvents(t *testing.T) {
	topic := EventTopic(EventExited, "dev.web")
	if topic != "astrid.process.v1.exited.dev.web" {
		t.Error(topic)
	}
	if event, suffix, ok := SplitTopic(topic); event != EventExited || suffix != "dev.web" || !ok {
		t.Errorf("%q, %q, %t", event, suffix, ok)
	}
	for _, topic := range []string{"astrid.process.v1.exited", "selftest.v1.exited.abc", ""} {
		if _, _, ok := SplitTopic(topic); ok {
			t.Errorf("%s is no topic of an event", topic)
		}
	}
	e, err := ParseEvent([]byte(`{"id":"abc","label":"dev/web","cause":"self-exit","exit":{"exit_code":3,"signal":null}}`))
	if err != nil || e.ID != "abc" || e.Label != "dev/web" || e.Reason != SelfExit || e.Exit.String() != "exit status 3" {
		t.Errorf("%+v, %v", e, err)
	}
	if e, err := ParseEvent([]byte(`{"id":"abc","label":""}`)); err != nil || e.Exit != nil || e.Reason != "" {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := ParseEvent([]byte("[")); err == nil {
		t.Error("half a list is no event")
	}
}
