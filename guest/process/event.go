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

// SplitTopic returns which event a topic is of, and the suffix that Watch was
// given, or the process's id. ok is false for another topic.
func SplitTopic(topic string) (event, suffix string, ok bool) {
	rest, ok := strings.CutPrefix(topic, topicPrefix)
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ".")
}

// Event is what the host tells of a watched process. Which event it is stands in
// the topic.
type Event struct {
	ID    ID
	Label string

	// Of EventExited only.
	Reason string // SelfExit, KilledByHost, ReapedTTL or ReapedShutdown
	Exit   *Exit  // nil if it is unknown
}

// ParseEvent reads the payload of an event: that of a message of package ipc, or
// of a handler which the manifest binds to the topic.
func ParseEvent(payload []byte) (Event, error) {
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
		return Event{}, fmt.Errorf("process: not the payload of an event: %w", err)
	}
	e := Event{ID: p.ID, Label: p.Label, Reason: p.Cause}
	if p.Exit != nil {
		e.Exit = &Exit{Code: p.Exit.Code, Signal: p.Exit.Signal}
	}
	return e, nil
}
