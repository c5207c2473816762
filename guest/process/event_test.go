//go:build !wasip1

package process

import "testing"

func TestEvents(t *testing.T) {
	if topic := EventTopic(EventExited, "web.*"); topic != "astrid.process.v1.exited.web.*" {
		t.Error(topic)
	}
	e, err := ParseEvent("astrid.process.v1.exited.dev.web", []byte(`{"id":"abc","label":"dev/web","cause":"self-exit","exit":{"exit_code":3,"signal":null}}`))
	if err != nil || e.Kind != EventExited || e.Suffix != "dev.web" || e.ID != "abc" || e.Label != "dev/web" || e.Reason != SelfExit || e.Exit.String() != "exit status 3" {
		t.Errorf("%+v, %v", e, err)
	}
	if e, err := ParseEvent("astrid.process.v1.log-ready.abc", []byte(`{"id":"abc","label":""}`)); err != nil || e.Kind != EventLogReady || e.Exit != nil || e.Reason != "" {
		t.Errorf("%+v, %v", e, err)
	}
	for topic, payload := range map[string]string{
		"astrid.process.v1.exited": "{}", "selftest.v1.exited.abc": "{}", "astrid.process.v1.exited.abc": "[",
	} {
		if _, err := ParseEvent(topic, []byte(payload)); err == nil {
			t.Errorf("%s %s is no event", topic, payload)
		}
	}
}
