package conformance

import (
	"slices"
	"strconv"
)

// Guest is one interpreter of scripts: a capsule of some make, built against
// one revision of astrid:process/host.
type Guest struct {
	Name     string // like "c-1.1.0"
	Revision string // "1.1.0", "1.0.0" or "0.7"

	// Make is what it is made with: "c", "go" or "js".
	Make string

	// MostBytes, if not 0, is how large an argument or a chunk of output may
	// be: bindings that copy a list byte by byte in an interpreter take half a
	// minute for a mebibyte.
	MostBytes int

	// Lacks are calls that it cannot make although its revision has them: some
	// makes do not let a guest misuse a handle.
	Lacks []string

	// Cannot, if set, tells of more that it cannot say: an SDK has no words for
	// some of what the contract admits, or says it in several calls.
	Cannot func(Line) bool
}

// since tells from which revision on a call or an argument of a spawn exists;
// what is not named exists in all.
var since = map[string]string{
	"spawn-persistent": "1.0.0", "attach": "1.0.0", "list-processes": "1.0.0", "status": "1.0.0", "status-many": "1.0.0",
	"read-logs": "1.0.0", "read-since": "1.0.0", "write-stdin": "1.0.0", "close-stdin": "1.0.0", "signal": "1.0.0",
	"wait": "1.0.0", "stop": "1.0.0", "release-process": "1.0.0", "watch": "1.0.0", "unwatch": "1.0.0",
	"=mem": "1.0.0", "=cpu": "1.0.0", "=pids": "1.0.0", "=files": "1.0.0", "=label": "1.0.0", "=keep-stdin-open": "1.0.0",
	"=overflow": "1.0.0", "=log-ring-bytes": "1.0.0", "=max-lifetime-ms": "1.0.0", "=idle-timeout-ms": "1.0.0",
	"=exit-retention-ms": "1.0.0", "=file-env": "1.1.0", "=file-path": "1.1.0",
}

// older orders the revisions.
var older = []string{"0.7", "1.0.0", "1.1.0"}

// Takes tells whether the guest can play a case.
func (g Guest) Takes(c *Case) bool {
	if len(c.Guests) > 0 && !slices.Contains(c.Guests, g.Make) && !slices.Contains(c.Guests, g.Name) && !slices.Contains(c.Guests, g.Revision) {
		return false
	}
	for _, st := range c.Steps {
		for _, l := range st.Lines {
			if !g.makes(l) {
				return false
			}
		}
	}
	return true
}

func (g Guest) makes(l Line) bool {
	if g.MostBytes > 0 && l.bytes() > g.MostBytes || g.Cannot != nil && g.Cannot(l) {
		return false
	}
	if slices.Contains(g.Lacks, l.Op) || !g.has(since[l.Op]) {
		return false
	}
	if l.Op != "spawn" && l.Op != "spawn-background" && l.Op != "spawn-persistent" {
		return !(l.Op == "h.signal" && g.Revision == "0.7" && l.hasField("sig", "stop", "cont"))
	}
	for _, f := range l.Fields {
		if !g.has(since["="+f.Key]) {
			return false
		}
	}
	return true
}

// bytes is how much the line's largest argument, or the chunk of output that it
// asks for, may come to.
func (l Line) bytes() (most int) {
	for _, f := range l.Fields {
		most = max(most, len(f.Text)*f.Times+f.Pad)
		if f.Key == "max" {
			n, _ := strconv.Atoi(f.Text)
			most = max(most, n)
		}
	}
	return most
}

func (l Line) hasField(key string, values ...string) bool {
	return slices.ContainsFunc(l.Fields, func(f Field) bool { return f.Key == key && slices.Contains(values, f.Text) })
}

func (g Guest) has(revision string) bool {
	return slices.Index(older, revision) <= slices.Index(older, g.Revision)
}
