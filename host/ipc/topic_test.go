package ipc_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/astrid-os/processledger/host/ipc"
)

func TestTopics(t *testing.T) {
	long := strings.Repeat("a", ipc.MaxTopic)
	for topic, want := range map[string]bool{
		"a": true, "a.b": true, "tool.v1.execute.run_shell-2.result": true, "1.2.3.4.5.6.7.8": true, long: true,
		"": false, ".": false, "a.": false, ".a": false, "a..b": false, "A.b": false, "a b": false, "a/b": false, "é": false,
		"a.*": false, "*": false, "1.2.3.4.5.6.7.8.9": false, long + "a": false, "a\x00": false,
	} {
		if err := ipc.ValidTopic(topic); (err == nil) != want {
			t.Errorf("topic %q: %v", topic, err)
		}
	}
	for pattern, want := range map[string]bool{
		"*": true, "a.*": true, "a.b": true, "1.2.3.4.5.6.7.*": true, strings.Repeat("a", ipc.MaxTopic-2) + ".*": true,
		"": false, ".*": false, "**": false, "a*": false, "a.*.b": false, "*.a": false, "a.**": false, "1.2.3.4.5.6.7.8.*": false,
		strings.Repeat("a", ipc.MaxTopic-1) + ".*": false,
	} {
		if err := ipc.ValidPattern(pattern); (err == nil) != want {
			t.Errorf("pattern %q: %v", pattern, err)
		}
	}
	for suffix, want := range map[string]bool{
		"build": true, "a.b.c.d": true, strings.Repeat("a", ipc.MaxTopic-len("astrid.process.v1.stdin-drained.")): true,
		"": false, "a.b.c.d.e": false, "a.*": false, "X": false,
		strings.Repeat("a", ipc.MaxTopic-len("astrid.process.v1.stdin-drained.")+1): false,
	} {
		if err := ipc.ValidSuffix(suffix); (err == nil) != want {
			t.Errorf("suffix %q: %v", suffix, err)
		}
	}
	var e *ipc.Error
	if err := ipc.ValidTopic("A"); !errors.As(err, &e) || e.Code != ipc.InvalidInput {
		t.Errorf("got %v", err)
	}
}

// matches tells whether a valid topic falls under a valid pattern, by the rule
// and not by the way in which the bus finds it.
func matches(pattern, topic string) bool {
	if pattern == "*" {
		return true
	}
	prefix, wild := strings.CutSuffix(pattern, "*")
	return pattern == topic || wild && strings.HasPrefix(topic, prefix)
}

// reaches tells whether the bus delivers a message on the topic to a
// subscription of the pattern.
func reaches(t *testing.T, pattern, topic string) bool {
	t.Helper()
	b := ipc.New(ipc.Options{})
	s, err := b.Subscribe("o", pattern)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Announce(ipc.Message{Topic: topic, Payload: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(s.Poll().Messages, func(m ipc.Message) bool { return m.Topic == topic })
}

func TestWhichPatternsATopicReaches(t *testing.T) {
	for _, c := range []struct {
		pattern, topic string
		want           bool
	}{
		{"a.b", "a.b", true}, {"a.b", "a.b.c", false}, {"a.b", "a", false},
		{"a.*", "a.b", true}, {"a.*", "a.b.c", true}, {"a.*", "a", false}, {"a.*", "ab.c", false},
		{"*", "a", true}, {"*", "a.b.c", true},
	} {
		if got := reaches(t, c.pattern, c.topic); got != c.want || matches(c.pattern, c.topic) != c.want {
			t.Errorf("%s on %s: %t", c.pattern, c.topic, got)
		}
	}
}

// FuzzTopics: the grammar never panics, and what is valid is delivered to just
// the patterns that match.
func FuzzTopics(f *testing.F) {
	for _, seed := range []string{"a.b.c", "*", "a.*", "tool.v1.execute.x.result", "..", "A", strings.Repeat("a.", 200)} {
		f.Add(seed, "a.b.*")
		f.Add("a.b.c", seed)
	}
	f.Fuzz(func(t *testing.T, topic, pattern string) {
		validTopic, validPattern := ipc.ValidTopic(topic) == nil, ipc.ValidPattern(pattern) == nil
		if validTopic && (ipc.ValidPattern(topic) != nil || strings.Contains(topic, "..") || strings.Count(topic, ".") >= ipc.MaxSegments) {
			t.Fatalf("topic %q", topic)
		}
		if validTopic && len(topic) < ipc.MaxTopic-1 && strings.Count(topic, ".") < ipc.MaxSegments-1 && ipc.ValidPattern(topic+".*") != nil {
			t.Fatalf("no pattern below topic %q", topic)
		}
		if !validTopic || !validPattern {
			return
		}
		if got := reaches(t, pattern, topic); got != matches(pattern, topic) {
			t.Fatalf("pattern %q, topic %q: delivered %t", pattern, topic, got)
		}
	})
}
