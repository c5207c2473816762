package host

import (
	"strings"
	"testing"
)

func TestSpawnRunsToTheEnd(t *testing.T) {
	w := newWorld(t)
	r := w.script("echo out; echo err >&2; pwd")
	got, err := w.host.Spawn(t.Context(), alice, r)
	if err != nil {
		t.Fatal(err)
	}
	if got.Exit.Code == nil || *got.Exit.Code != 0 || string(got.Stderr) != "err\n" {
		t.Errorf("result %+v", got)
	}
	if want := "workspaces/alice/builder\n"; !strings.HasPrefix(string(got.Stdout), "out\n") || !strings.HasSuffix(string(got.Stdout), want) {
		t.Errorf("stdout %q, want out and …%s", got.Stdout, want)
	}
	if n := w.counts("alice").Total(); n != 0 {
		t.Errorf("%d slots taken after the end", n)
	}
}
