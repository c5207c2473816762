package bind

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-os/processledger/host/abi"
)

// texts are the interface texts of the revisions, in host/wit.
var texts = map[string]string{
	process07:               "process-1.0.0-era-0.7.wit",
	process100:              "process-1.0.0.wit",
	process110:              "process-1.1.0.wit",
	ioPoll:                  "io-1.0.0.wit",
	sysHost:                 "sys-1.0.0.wit",
	"astrid:ipc/host@1.0.0": "ipc-1.0.0.wit",
}

// TestInterfaceTexts: host/wit says what is served, no more and no less.
func TestInterfaceTexts(t *testing.T) {
	for _, rev := range revisions {
		text, err := os.ReadFile("../wit/" + texts[rev.module])
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
				got = append(got, line)
			}
		}
		if d := cmp.Diff(witOf(rev), got); d != "" {
			t.Errorf("host/wit/%s (-served +written):\n%s", texts[rev.module], d)
		}
	}
}

// witOf spells a revision as its interface text does, a line each.
func witOf(rev revision) []string {
	pkg, iface, _ := strings.Cut(strings.TrimSuffix(rev.module, "+0.7"), "/")
	iface, version, _ := strings.Cut(iface, "@")
	out := []string{"package " + pkg + "@" + version + ";", "interface " + iface + " {"}
	if rev.module != ioPoll && uses(rev, pollable) {
		out = append(out, "use "+ioPoll+".{pollable};")
	}
	for _, t := range namedTypes(rev) {
		out = append(out, witType(t)...)
	}
	var resource string
	var methods, free []string
	for _, f := range rev.funcs {
		name := f.Name
		if r, method, ok := strings.Cut(strings.TrimPrefix(name, "[method]"), "."); ok {
			resource = r
			methods = append(methods, witFunc(method, f.Named()[1:], f.Result()))
		} else if !strings.HasPrefix(name, "[") {
			free = append(free, witFunc(name, f.Named(), f.Result()))
		}
	}
	if resource != "" {
		out = append(append(append(out, "resource "+resource+" {"), methods...), "}")
	}
	return append(append(out, free...), "}")
}

// uses tells whether a function of a revision returns handles of a resource.
func uses(rev revision, r *abi.Resource) bool {
	for _, f := range rev.funcs {
		if t := f.Result(); t != nil && t.Kind() == abi.KindOwn && t.String() == r.Name {
			return true
		}
	}
	return false
}

func witType(t *abi.Type) []string {
	if t.Kind() == abi.KindString {
		return []string{"type " + t.String() + " = string;"}
	}
	var lines []string
	keyword := "record"
	for _, f := range t.Fields() {
		lines = append(lines, fmt.Sprintf("%s: %s,", f.Name, f.Type))
	}
	cases, _ := t.Cases()
	for _, c := range cases {
		if keyword != "variant" {
			keyword = "enum"
		}
		if c.Type != nil {
			keyword = "variant"
			lines = append(lines, fmt.Sprintf("%s(%s),", c.Name, c.Type))
			continue
		}
		lines = append(lines, c.Name+",")
	}
	return append(append([]string{keyword + " " + t.String() + " {"}, lines...), "}")
}

func witFunc(name string, params []abi.Field, result *abi.Type) string {
	var in []string
	for _, p := range params {
		in = append(in, p.Name+": "+p.Type.String())
	}
	s := fmt.Sprintf("%s: func(%s)", name, strings.Join(in, ", "))
	if result != nil {
		s += " -> " + result.String()
	}
	return s + ";"
}
