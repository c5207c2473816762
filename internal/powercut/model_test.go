package powercut

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// written is a trace by hand of a file that is written, named, written again
// and flushed as the ledger's segments are; /r is the directory.
const written = `7 openat(AT_FDCWD</>, "/r/a.tmp", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 3</r/a.tmp>
7 pwrite64(3</r/a.tmp>, "old\n", 4, 0) = 4
7 fsync(3</r/a.tmp>) = 0
7 renameat(AT_FDCWD</>, "/r/a.tmp", AT_FDCWD</>, "/r/a") = 0
7 fsync(4</r>) = 0
7 pwrite64(3</r/a>, "new\n", 4, 0) = 4
8 mkdirat(AT_FDCWD</>, "/r/d", 0700 <unfinished ...>
7 fdatasync(3</r/a> <unfinished ...>
8 <... mkdirat resumed>) = 0
7 <... fdatasync resumed>) = 0
8 openat(5</r/d>, "b", O_WRONLY|O_CREAT, 0600) = 6</r/d/b>
8 write(6</r/d/b>, "\0\177x\n", 4) = 4
8 fsync(6</r/d/b>) = 0
8 unlink("/r/a") = 0
9 ???( <unfinished ...>
9 <... ??? resumed>) = ?
8 +++ exited with 0 +++
`

func history(t *testing.T, text string) *History {
	t.Helper()
	calls, end, err := ReadCalls(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	h := &History{Root: "/r"}
	h.root = h.newInode(true)
	if err := h.Take(calls, end); err != nil {
		t.Fatal(err)
	}
	if len(h.Unplaced) > 0 {
		t.Fatal(h.Unplaced)
	}
	return h
}

// show is a state on one line.
func show(s *State) string {
	var parts []string
	for _, d := range s.dirs {
		parts = append(parts, d+"/")
	}
	for _, path := range slices.Sorted(maps.Keys(s.files)) {
		parts = append(parts, fmt.Sprintf("%s=%q", path, s.files[path].data))
	}
	return strings.Join(parts, " ")
}

// TestStates holds what may be there after cuts at each place, against what was
// worked out by hand.
func TestStates(t *testing.T) {
	r := NewReplayer(history(t, written))
	for _, c := range []struct {
		cut          int
		model        Model
		least, most  string // with nothing and with all of what is undecided
		undecidedMax int
	}{
		{0, Strict, ``, ``, 0},
		{1, Strict, ``, `a.tmp=""`, 1},
		{2, Strict, ``, `a.tmp="old\n"`, 2},
		{3, Strict, ``, `a.tmp="old\n"`, 1},               // the flush of the file does not cover its name
		{3, Journal, `a.tmp="old\n"`, `a.tmp="old\n"`, 0}, // with a journal it does
		{4, Strict, ``, `a="old\n"`, 2},
		{4, Journal, `a.tmp="old\n"`, `a="old\n"`, 1},
		{5, Strict, `a="old\n"`, `a="old\n"`, 0},
		{6, Strict, `a="old\n"`, `a="new\n"`, 1},
		{10, Strict, `a="new\n"`, `d/ a="new\n"`, 1},
		{10, Journal, `a="new\n"`, `d/ a="new\n"`, 1}, // it was under way when the flush began
		{13, Strict, `a="new\n"`, `d/ a="new\n" d/b="\x00\x7fx\n"`, 2},
		{13, Journal, `d/ a="new\n" d/b="\x00\x7fx\n"`, `d/ a="new\n" d/b="\x00\x7fx\n"`, 0},
		{15, Journal, `d/ a="new\n" d/b="\x00\x7fx\n"`, `d/ d/b="\x00\x7fx\n"`, 1},
	} {
		all := Pickers(1)
		least, most := r.State(c.cut, c.model, all[0]), r.State(c.cut, c.model, all[1])
		if got := show(least); got != c.least {
			t.Errorf("%v: %s, want %s", least, got, c.least)
		}
		if got := show(most); got != c.most {
			t.Errorf("%v: %s, want %s", most, got, c.most)
		}
		if most.Undecided != c.undecidedMax {
			t.Errorf("%v: %d undecided, want %d", most, most.Undecided, c.undecidedMax)
		}
	}
}

// TestTornWrite: a write of several sectors comes in parts, and every part may
// be missing; what was there before shows.
func TestTornWrite(t *testing.T) {
	before, after := strings.Repeat("a", 2048), strings.Repeat("b", 2048)
	r := NewReplayer(history(t, `7 openat(AT_FDCWD</>, "/r/f", O_RDWR|O_CREAT, 0600) = 3</r/f>
7 fsync(4</r>) = 0
7 pwrite64(3</r/f>, "`+before+`", 2048, 0) = 2048
7 fdatasync(3</r/f>) = 0
7 pwrite64(3</r/f>, "`+after+`", 2048, 256) = 2048
`))
	seen := map[string]bool{}
	for seed := range uint64(200) {
		for _, p := range Pickers(seed) {
			s := r.State(5, Strict, p)
			b := s.files["f"].data
			seen[string(b)] = true
			for i := 512; i < 2048; i++ {
				if want := b[i/512*512+511]; b[i] != want {
					t.Fatalf("%v: byte %d is %q, and the last of its sector %q", s, i, b[i], want)
				}
			}
		}
	}
	if len(seen) != 1<<5 { // 256 to 512, three whole ones, 2048 to 2304
		t.Errorf("%d states of a write over 5 sectors, want %d", len(seen), 1<<5)
	}
}

// TestLay: what is laid is what the state says, and what is shared with others
// is not laid twice.
func TestLay(t *testing.T) {
	dir := t.TempDir()
	store := filepath.Join(dir, "store")
	if err := os.Mkdir(store, 0o700); err != nil {
		t.Fatal(err)
	}
	r := NewReplayer(history(t, written))
	for _, name := range []string{"one", "two"} {
		s := r.State(13, Journal, Pickers(1)[1])
		if err := s.Lay(filepath.Join(dir, name), store, nil, func(p string) bool { return p == "a" }); err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]string{"a": "new\n", "d/b": "\x00\x7fx\n"} {
			if got, err := os.ReadFile(filepath.Join(dir, name, path)); string(got) != want {
				t.Errorf("%s: %q, %v, want %q", path, got, err, want)
			}
		}
	}
	if shared, err := os.ReadDir(store); err != nil || len(shared) != 1 {
		t.Errorf("the store holds %v, %v, want one file", shared, err)
	}
}

// TestBrokenTrace: what is not understood is an error, never left out.
func TestBrokenTrace(t *testing.T) {
	for _, text := range []string{
		"7 write(3</r/f>, \"abc\"..., 1000) = 1000\n",
		"write(3, \"\", 0) = 0\n",
		"7 <... write resumed>) = 0\n",
		"7 write(3</r/f>, \"ab\n",
		"7 write(3</r/f>, \"\\q\", 1) = 1\n",
	} {
		if calls, _, err := ReadCalls(strings.NewReader(text)); err == nil {
			t.Errorf("%q: %v", text, calls)
		}
	}
	h := &History{Root: "/r"}
	h.root = h.newInode(true)
	calls, end, err := ReadCalls(strings.NewReader("7 pwrite64(3</r/f>, \"a\", 1, 0) = 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Take(calls, end); err != nil || len(h.Unplaced) != 1 {
		t.Errorf("a write to a file that nobody made: %v, %q", err, h.Unplaced)
	}
}
