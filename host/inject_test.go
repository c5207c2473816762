package host

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/ledger/event"
)

func byKey(key, content string) FileInjection {
	return FileInjection{Content: []byte(content), EnvKey: &key}
}

func byPath(path, content string) FileInjection {
	return FileInjection{Content: []byte(content), Path: &path}
}

// keys is n files by variables, each with so many bytes.
func keys(n, size int) (files []FileInjection) {
	for i := range n {
		files = append(files, byKey(fmt.Sprint("FILE_", i), strings.Repeat("x", size)))
	}
	return files
}

func TestValidateFiles(t *testing.T) {
	one := func(path string) []FileInjection { return []FileInjection{byPath(path, "")} }
	const fine = 255
	cases := []struct {
		name  string
		files []FileInjection
		want  Code
	}{
		{"128 files", keys(128, 0), fine},
		{"129 files", keys(129, 0), TooLarge},
		{"8 MiB", keys(1, 8<<20), fine},
		{"8 MiB and 1", keys(1, 8<<20+1), TooLarge},
		{"16 MiB together", keys(2, 8<<20), fine},
		{"16 MiB and 1 together", append(keys(2, 8<<20), byPath("/x", "x")), TooLarge},
		{"a variable", []FileInjection{byKey("_a9", "")}, fine},
		{"no variable", []FileInjection{byKey("", "")}, InvalidInput},
		{"a variable with a digit first", []FileInjection{byKey("9A", "")}, InvalidInput},
		{"a variable with =", []FileInjection{byKey("A=B", "")}, InvalidInput},
		{"PATH", []FileInjection{byKey("PATH", "")}, InvalidInput},
		{"LD_PRELOAD", []FileInjection{byKey("LD_PRELOAD", "")}, InvalidInput},
		{"BASH_ENV", []FileInjection{byKey("BASH_ENV", "")}, InvalidInput},
		{"LANG", []FileInjection{byKey("LANG", "")}, fine},
		{"a variable of the environment", []FileInjection{byKey("TAKEN", "")}, InvalidInput},
		{"a variable twice", []FileInjection{byKey("A", "1"), byKey("A", "2")}, InvalidInput},
		{"long variables", []FileInjection{byKey(strings.Repeat("A", 24<<10), "")}, TooLarge},
		{"neither", []FileInjection{{}}, InvalidInput},
		{"both", []FileInjection{{EnvKey: new("A"), Path: new("/a")}}, InvalidInput},
		{"a path", one("/a/b"), fine},
		{"a path with spaces", one("/a b/ü"), fine},
		{"a path to be normalised", one("//a/./b"), fine},
		{"relative", one("a"), InvalidInput},
		{"empty", one(""), InvalidInput},
		{"the root", one("/"), InvalidInput},
		{"the root again", one("/."), InvalidInput},
		{"a directory", one("/a/"), InvalidInput},
		{"..", one("/a/../b"), InvalidInput},
		{".. at the end", one("/a/.."), InvalidInput},
		{"..b is a name", one("/a/..b"), fine},
		{"a quote", one(`/a"b`), InvalidInput},
		{"a backslash", one(`/a\b`), InvalidInput},
		{"NUL", one("/a\x00b"), InvalidInput},
		{"too long", one("/" + strings.Repeat("a", 4096)), InvalidInput},
		{"proc", one("/proc/self/mem"), InvalidInput},
		{"dev", one("/dev/./null"), InvalidInput},
		{"device is a name", one("/device"), fine},
		{"the loader", one("/etc/ld.so.preload"), InvalidInput},
		{"a path twice", []FileInjection{byPath("/a/b", ""), byPath("/a/b", "")}, InvalidInput},
		{"a path twice, by another spelling", []FileInjection{byPath("/a/b", ""), byPath("/a/./b", "")}, InvalidInput},
		{"many long paths", longPaths(5), TooLarge},
	}
	for _, c := range cases {
		err := validate(&Request{Cmd: "c", Files: c.files, Env: []EnvVar{{"TAKEN", ""}}})
		switch {
		case c.want == fine && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != fine && (err == nil || err.Code != c.want):
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func longPaths(n int) (files []FileInjection) {
	for i := range n {
		files = append(files, byPath(fmt.Sprint("/", i, strings.Repeat("/long", 800)), ""))
	}
	return files
}

// lastDecision is the newest request of the ledger and its decision.
func (w *world) lastDecision() (*event.SpawnRequested, *event.SpawnDecided) {
	w.t.Helper()
	var asked *event.SpawnRequested
	var decided *event.SpawnDecided
	for _, e := range w.events(1) {
		switch b := e.Body.(type) {
		case *event.SpawnRequested:
			asked = b
		case *event.SpawnDecided:
			decided = b
		}
	}
	return asked, decided
}

func TestFilesReachTheProgramAndTheLedgerTheirDigests(t *testing.T) {
	w := newWorld(t)
	if w.mode == act.IsolationNone {
		t.Skip("no namespaces here, and without one no file is laid")
	}
	r := w.script(`cat "$POLICY" /etc/astrid-test/managed.json; echo no >"$POLICY" || echo kept`)
	r.Files = []FileInjection{byKey("POLICY", "the policy "), byPath("/etc/./astrid-test/managed.json", "managed ")}
	got, err := w.host.Spawn(t.Context(), alice, r)
	if err != nil {
		t.Fatal(err)
	}
	if string(got.Stdout) != "the policy managed kept\n" {
		t.Errorf("stdout %q, stderr %q", got.Stdout, got.Stderr)
	}
	asked, _ := w.lastDecision()
	for i, want := range []event.InjectedFile{
		{EnvKey: "POLICY", Bytes: 11}, {Path: "/etc/./astrid-test/managed.json", Bytes: 8},
	} {
		if len(asked.Files) != 2 {
			t.Fatalf("the event names %d files", len(asked.Files))
		}
		f := asked.Files[i]
		mac := hmac.New(sha256.New, []byte("a key of the tests"))
		mac.Write(r.Files[i].Content)
		if f.EnvKey != want.EnvKey || f.Path != want.Path || f.Bytes != want.Bytes || !bytes.Equal(f.Digest, mac.Sum(nil)) {
			t.Errorf("the event says %+v, want %+v", f, want)
		}
	}
	for _, e := range w.events(1) {
		if bytes.Contains(event.Encode(e), []byte("the policy")) {
			t.Errorf("%s holds the content", e.Kind())
		}
	}
}

func TestFilesThatCannotBeLaidAreRefusedAndRecorded(t *testing.T) {
	for _, mode := range modes() {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t, func(w *world) { w.mode = mode })
			root, err := w.host.workspace(alice)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("/etc", filepath.Join(root, "link")); err != nil {
				t.Fatal(err)
			}
			cases := []struct {
				files []FileInjection
				want  Code
				why   string
			}{
				{keys(129, 1), TooLarge, "128"},
				{[]FileInjection{byPath("/proc/x", "")}, InvalidInput, "machine's own"},
				{[]FileInjection{byPath(root, "")}, InvalidInput, "directory"},
				{[]FileInjection{byPath(filepath.Join(root, "link", "x"), "")}, InvalidInput, "symbolic link"},
				{[]FileInjection{byPath(filepath.Join(w.data, "processes", "x"), "")}, InvalidInput, "keeps its processes"},
				{longPaths(100), TooLarge, "together"},
			}
			if mode == act.IsolationNone {
				cases = cases[:2]
				cases = append(cases, struct {
					files []FileInjection
					want  Code
					why   string
				}{keys(1, 1), Unknown, "isolated"})
			}
			for _, c := range cases {
				r := w.script("echo ran")
				r.Files = c.files
				_, err := w.host.Spawn(t.Context(), alice, r)
				if CodeOf(err) != c.want || !strings.Contains(err.Error(), c.why) {
					t.Errorf("%v, want %v with %q", err, c.want, c.why)
				}
				asked, decided := w.lastDecision()
				if decided.Code != c.want.String() || decided.Rule != "validation" || len(asked.Files) == 0 {
					t.Errorf("recorded %+v of %d files", decided, len(asked.Files))
				}
				if _, err := os.Stat(filepath.Join(w.witness, r.Args[2])); err == nil {
					t.Errorf("%v: it ran", c.want)
				}
			}
		})
	}
}
