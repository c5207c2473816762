package bind

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/astrid-os/processledger/host/abi"
)

// TestInterfaceText: host/wit says what is served, no more and no less.
func TestInterfaceText(t *testing.T) {
	text, err := os.ReadFile("../wit/process-1.0.0.wit")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
			got = append(got, line)
		}
	}
	if d := cmp.Diff(witOf(revisions[0]), got); d != "" {
		t.Errorf("host/wit/process-1.0.0.wit (-served +written):\n%s", d)
	}
}

// witOf spells a revision as its interface text does, a line each.
func witOf(rev revision) []string {
	out := []string{"package astrid:process@1.0.0;", "interface host {"}
	for _, t := range []*abi.Type{errorCode, processSignal, overflowPolicy, envVar, resourceLimits, spawnRequest, exitInfo, processResult, readLogsResult, killResult} {
		out = append(out, witType(t)...)
	}
	var methods, free []string
	for _, f := range rev.funcs {
		name, method := strings.CutPrefix(f.Name, "[method]process-handle.")
		switch params := f.Named(); {
		case method:
			methods = append(methods, witFunc(name, params[1:], f.Result()))
		case !strings.HasPrefix(f.Name, "["):
			free = append(free, witFunc(name, params, f.Result()))
		}
	}
	out = append(append(append(out, "resource process-handle {"), methods...), "}")
	return append(append(out, free...), "}")
}

func witType(t *abi.Type) []string {
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
	return fmt.Sprintf("%s: func(%s) -> %s;", name, strings.Join(in, ", "), result)
}
