package ipc

import (
	"fmt"
	"strings"
)

// Bounds of a topic, from the contract.
const (
	MaxTopic    = 256 // bytes
	MaxSegments = 8   // parts between dots
)

// WatchPrefix is what the topics of a process's lifecycle begin with:
// astrid.process.v1.<event>.<suffix or process id>. Only the host publishes on
// them.
const WatchPrefix = "astrid.process.v1."

// longestWatch is the longest of them without its suffix.
const longestWatch = WatchPrefix + "stdin-drained."

// ValidTopic tells what is wrong with a topic: it has at most 256 bytes and
// eight segments with dots between them, each of one or more of a-z, 0-9, _
// and -.
func ValidTopic(topic string) error {
	if len(topic) > MaxTopic {
		return invalid("the topic has %d bytes, at most %d are taken", len(topic), MaxTopic)
	}
	segments := 0
	for segment := range strings.SplitSeq(topic, ".") {
		if segments++; segments > MaxSegments {
			return invalid("the topic has more than %d segments", MaxSegments)
		}
		if err := validSegment(segment); err != nil {
			return err
		}
	}
	return nil
}

func validSegment(s string) error {
	if s == "" {
		return invalid("the topic has an empty segment")
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return invalid("the topic has the byte %q; a segment is of a-z, 0-9, _ and -", c)
		}
	}
	return nil
}

// ValidPattern tells what is wrong with the pattern of a subscription: a topic,
// whose last segment may be a *. The * counts as a segment.
func ValidPattern(pattern string) error {
	prefix, wild := cutStar(pattern)
	switch {
	case !wild:
		return ValidTopic(pattern)
	case pattern == "*":
		return nil
	case len(pattern) > MaxTopic:
		return invalid("the pattern has %d bytes, at most %d are taken", len(pattern), MaxTopic)
	case strings.Count(prefix, ".")+2 > MaxSegments:
		return invalid("the pattern has more than %d segments", MaxSegments)
	}
	return ValidTopic(prefix)
}

// ValidSuffix tells what is wrong with the suffix of a watch: with each event's
// name before it, it must make a topic.
func ValidSuffix(suffix string) error { return ValidTopic(longestWatch + suffix) }

// cutStar takes the trailing * from a pattern, and the dot before it.
func cutStar(pattern string) (prefix string, wild bool) {
	if pattern == "*" {
		return "", true
	}
	return strings.CutSuffix(pattern, ".*")
}

// patternsOf calls yield with each pattern that a topic falls under: itself,
// and those that end in a *, which stands for one or more segments.
func patternsOf(topic string, yield func(pattern string)) {
	yield(topic)
	for end := len(topic); ; {
		end = strings.LastIndexByte(topic[:end], '.')
		if end < 0 {
			yield("*")
			return
		}
		yield(topic[:end] + ".*")
	}
}

func invalid(format string, args ...any) error {
	return &Error{Code: InvalidInput, Detail: fmt.Sprintf(format, args...)}
}
