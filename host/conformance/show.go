package conformance

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// primary are the fields whose value a line's variable gets.
var primary = []string{"handle", "id", "next"}

// moving are fields that differ from run to run; all that is shown of them is
// whether they are there. "-" stands for none and is shown.
var moving = map[string]bool{
	"handle": true, "next": true, "pid": true, "os-pid": true, "age-ms": true, "idle-ms": true, "cpu-ms": true,
	"mem-bytes-peak": true, "clock": true, "timestamp": true, "text": true, "source": true, "source-id": true,
}

// show writes one line of a guest's answer for people, and takes its value for
// the variable. Items of lists stand on lines of their own, sorted.
func (r *run) show(l Line, answer string) []string {
	words := strings.Split(answer, "\t")
	lines, items := []string{words[0]}, []string(nil)
	into := &lines
	for _, w := range words[1:] {
		key, value, hasValue := strings.Cut(w, "=")
		if !hasValue {
			lines[0] += " " + w
			continue
		}
		if key == "item" {
			items = append(items, "- ")
			into = &items
			continue
		}
		(*into)[len(*into)-1] += r.field(l, key, unescape(value))
	}
	for i := range items {
		items[i] = "-" + strings.TrimPrefix(items[i], "- ")
	}
	slices.Sort(items)
	return append(lines, items...)
}

// field writes one field, and remembers the value of the line's variable.
func (r *run) field(l Line, key, value string) string {
	if long, ok := strings.CutSuffix(key, "#"); ok {
		return " " + long + "=" + summary(value)
	}
	if slices.Contains(primary, key) && l.Var != "" {
		r.vars[l.Var] = value
	}
	switch {
	case value == "-":
	case key == "payload" && r.about == lifecycle:
		return causeIn(value)
	case key == "topic":
		if r.about = ""; strings.HasPrefix(value, lifecycle) {
			r.about = lifecycle
		}
		value = r.unmap(value)
	case key == "id":
		value = r.nameOf(value)
	case moving[key]:
		return " " + key
	default:
		value = r.unmap(value)
	}
	return " " + key + "=" + quote(value)
}

// lifecycle is how the topics of a process's events begin.
const lifecycle = "astrid.process.v1."

// causeIn shows of a lifecycle event what the contract says of it: whether it
// names a cause, and which.
func causeIn(payload string) string {
	for _, c := range []string{"self-exit", "killed", "reaped-ttl", "reaped-shutdown"} {
		if strings.Contains(payload, strconv.Quote(c)) {
			return " cause=" + c
		}
	}
	return " payload"
}

// ids are process ids in a text.
var ids = regexp.MustCompile(`\b[a-z2-7]{52}\b`)

// nameOf gives an id back as the variable that holds it.
func (r *run) nameOf(id string) string {
	var names []string
	for n, v := range r.vars {
		if v == id {
			names = append(names, "$"+n)
		}
	}
	if len(names) == 0 {
		return "?"
	}
	return slices.Min(names)
}

// summary writes a long value, of which a guest gives the length, the FNV-1a
// sum and the end.
func summary(v string) string {
	parts := strings.SplitN(v, ":", 3)
	if len(parts) != 3 {
		return quote(v)
	}
	return fmt.Sprintf("<%s bytes, sum %s, ends %s>", parts[0], parts[1], quote(parts[2]))
}

// quote writes a value so that split reads it back.
func quote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == '\'' || r == '\\' }) {
		return s
	}
	return strconv.Quote(s)
}
