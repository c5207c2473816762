package abitest

import (
	"fmt"
	"strings"

	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-os/processledger/host/abi"
)

// Layout spells how a type stands in memory: size, alignment and number of flat
// values, then each field or case with its offset.
func Layout(t *abi.Type) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d/%d flat %d\n", t, t.Size(), t.Align(), len(t.Flat()))
	for _, f := range t.Fields() {
		fmt.Fprintf(&b, "%5d %s: %s\n", f.Offset, f.Name, f.Type)
	}
	cases, payload := t.Cases()
	for tag, c := range cases {
		fmt.Fprintf(&b, "  tag %d %s", tag, c.Name)
		if c.Type != nil {
			fmt.Fprintf(&b, " at %d: %s", payload, c.Type)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Signature spells a function's name, its core signature, and the layout of
// its result.
func Signature(f *abi.Func) string {
	params, results := f.Core()
	s := fmt.Sprintf("%s (%s)", f.Name, spell(params))
	if len(results) > 0 {
		s += " -> " + spell(results)
	}
	if r := f.Result(); r != nil {
		s += fmt.Sprintf("  %s %d/%d", r, r.Size(), r.Align())
		if _, payload := r.Cases(); payload > 0 {
			s += fmt.Sprintf(" payload %d", payload)
		}
	}
	return s
}

func spell(types []api.ValueType) string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = api.ValueTypeName(t)
	}
	return strings.Join(names, " ")
}
