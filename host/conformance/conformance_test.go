//go:build linux

package conformance_test

import (
	"errors"
	"flag"
	"os"
	"regexp"
	"sync"
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

// lanes is how many hosts share the cases of a guest: they wait more than they
// work.
const lanes = 3

// TestContract has every guest play every case that it can.
func TestContract(t *testing.T) {
	all := cases(t)
	t.Run("guests", func(t *testing.T) {
		for _, g := range guests {
			t.Run(g.Name, func(t *testing.T) {
				if !*rewrite { // then the first one's answers count
					t.Parallel()
				}
				if raced && g.Name != "c-1.1.0" && g.Make != "go" {
					t.Skip("the race detector looks at the host, with two guests")
				}
				module, err := g.build()
				if m := (*missing)(nil); errors.As(err, &m) {
					t.Skip(m.what)
				} else if err != nil {
					t.Fatal(err)
				}
				playAll(t, g.Guest, module, all)
			})
		}
	})
	if *rewrite {
		if err := conformance.Rewrite(all, os.WriteFile); err != nil {
			t.Fatal(err)
		}
	}
}

// playAll shares the cases of a guest among lanes.
func playAll(t *testing.T, g conformance.Guest, module string, all []*conformance.Case) {
	only := regexp.MustCompile(*onlyCase)
	todo := make(chan *conformance.Case, len(all))
	for _, c := range all {
		if g.Takes(c) && only.MatchString(c.Name) {
			todo <- c
		}
	}
	close(todo)
	var one sync.Mutex // the first host compiles the module, the others find it
	for range lanes {
		t.Run("lane", func(t *testing.T) {
			t.Parallel()
			lane := &conformance.Lane{Host: newHost(t)}
			one.Lock()
			err := lane.Host.Start(t.Context(), conformance.SetupFor(module, all))
			one.Unlock()
			if err != nil {
				t.Fatal(err)
			}
			for c := range todo {
				t.Run(c.Name, func(t *testing.T) { play(t, lane, c) })
			}
			if err := lane.Host.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func play(t *testing.T, lane *conformance.Lane, c *conformance.Case) {
	got, err := lane.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if diff := c.Compare(got); diff != "" && !(*rewrite && c.Accept(got)) {
		t.Errorf("%s\n%s", c.File, diff)
	}
}

// TestEverythingIsCovered: each function and error has a case in each revision
// that has it, and each number and known behaviour has one.
func TestEverythingIsCovered(t *testing.T) {
	var all []conformance.Guest
	for _, g := range guests {
		all = append(all, g.Guest)
	}
	c := conformance.Cover(cases(t), all)
	t.Log("cases that have each item, by guest:\n" + c.Table())
	for _, m := range c.Missing(all) {
		t.Error("no case has " + m)
	}
}
