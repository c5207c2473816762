package process

import (
	"encoding/json"
	"fmt"
	"strings"
)

// The events of a watched process, see [ID.Watch].
const (
	EventExited       = "exited"        // it has ended
	EventLogReady     = "log-ready"     // there is output to read; told again after it was read
	EventStdinDrained = "stdin-drained" // a write that had to wait is through
)

// The reasons of [EventExited].
const (
	SelfExit       = "self-exit"       // it ended of itself
	KilledByHost   = "killed"          // it was stopped, cancelled or killed
	ReapedTTL      = "reaped-ttl"      // its lifetime or its idle time was over
	ReapedShutdown = "reaped-shutdown" // the host was shut down
)

// topicPrefix is what the topics of all events begin with.
const topicPrefix = "astrid.process.v1."

// EventTopic returns the topic of an event, or a pattern for package ipc if the
// suffix ends in a star. The suffix is that of Watch, or the process's id.
func EventTopic(event, suffix string) string { return topicPrefix + event + "." + suffix }

// Event is what the host tells of a watched process.
type Event struct {
	Kind   string // EventExited, EventLogReady or EventStdinDrained
	Suffix string // as it was given to Watch, or the process's id
	ID     ID
	Label  string

	// Of EventExited only.
	Reason string // SelfExit, KilledByHost, ReapedTTL or ReapedShutdown
	Exit   *Exit  // nil if it is unknown
}

// ParseEvent reads a message of package ipc on the topic of an event.
func ParseEvent(topic string, payload []byte) (Event, error) {
	rest, ok := strings.CutPrefix(topic, topicPrefix)
	kind, suffix, found := strings.Cut(rest, ".")
	if !ok || !found {
		return Event{}, fmt.Errorf("process: %s is no topic of a process's event", topic)
	}
	var p struct {
		ID    ID     `json:"id"`
		Label string `json:"label"`
		Cause string `json:"cause"`
		Exit  *struct {
			Code   *int32 `json:"exit_code"`
			Signal *int32 `json:"signal"`
		} `json:"exit"`
	}
	if err := json.Unmarshal(payload, &p); err != nil {
		return Event{}, fmt.Errorf("process: event on %s: %w", topic, err)
	}
	e := Event{Kind: kind, Suffix: suffix, ID: p.ID, Label: p.Label, Reason: p.Cause}
	if p.Exit != nil {
		e.Exit = &Exit{Code: p.Exit.Code, Signal: p.Exit.Signal}
	}
	return e, nil
}
