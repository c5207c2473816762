//go:build linux

package conformance_test

import (
	"errors"
	"flag"
	"os"
	"regexp"
	"testing"

	"github.com/astrid-os/processledger/host/conformance"
)

var (
	rewrite  = flag.Bool("rewrite", false, "write what the first guest got into the case files")
	onlyCase = flag.String("case", "", "play only the cases whose name matches this")
)

func cases(t testing.TB) []*conformance.Case {
	t.Helper()
	all, err := conformance.ReadCases("testdata/cases")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestContract has every guest play every case that it can.
func TestContract(t *testing.T) {
	all := cases(t)
	only := regexp.MustCompile(*onlyCase)
	for _, g := range guests {
		t.Run(g.Name, func(t *testing.T) {
			module, err := g.build()
			if m := (*missing)(nil); errors.As(err, &m) {
				t.Skip(m.what)
			} else if err != nil {
				t.Fatal(err)
			}
			lane := &conformance.Lane{Host: &inProcess{t: t}}
			if err := lane.Host.Start(t.Context(), conformance.SetupFor(module, all)); err != nil {
				t.Fatal(err)
			}
			for _, c := range all {
				if g.Takes(c) && only.MatchString(c.Name) {
					t.Run(c.Name, func(t *testing.T) { play(t, lane, c) })
				}
			}
		})
	}
	if *rewrite {
		if err := conformance.Rewrite(all, os.WriteFile); err != nil {
			t.Fatal(err)
		}
	}
}

func play(t *testing.T, lane *conformance.Lane, c *conformance.Case) {
	got, err := lane.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if diff := c.Compare(got); diff != "" {
		if *rewrite {
			c.Accept(got)
			return
		}
		t.Errorf("%s\n%s", c.File, diff)
	}
}
