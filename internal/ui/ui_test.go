package ui

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestSafe(t *testing.T) {
	for in, want := range map[string]string{
		"plain words":             "plain words",
		"ä 漢 🙂":                   "ä 漢 🙂",
		"a\x1b[2Jb":               `a\x1b[2Jb`,
		"a\nb\r\tc\x00\x7f":       `a\nb\r\tc\x00\x7f`,
		"c1 \u009b31m":            `c1 \u009b31m`,
		"bidi \u202egnp.exe":      `bidi \u202egnp.exe`,
		"sep\u2028end\u200b.":     `sep\u2028end\u200b.`,
		"bad \xff\xfe utf8":       `bad \xff\xfe utf8`,
		"real replacement \ufffd": "real replacement \ufffd",
		"tag \U000e0041":          `tag \U000e0041`,
	} {
		if got := Safe(in); got != want {
			t.Errorf("Safe(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzSafe(f *testing.F) {
	f.Add("a\x1b\n\xff\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		for _, got := range []string{Safe(s), Shell(s, s)} {
			if !utf8.ValidString(got) {
				t.Errorf("%q became %q, which is not UTF-8", s, got)
			}
			if i := strings.IndexFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
				t.Errorf("%q became %q, not printable at %d", s, got, i)
			}
		}
		if isSafe(s) && Safe(s) != s {
			t.Errorf("%q was safe and was changed", s)
		}
	})
}

func TestShell(t *testing.T) {
	got := Shell("git", "log", "--format=%h %s", "", "it's", "a\nb", `back\slash`, "x=$HOME")
	want := `git log '--format=%h %s' '' 'it'\''s' $'a\nb' 'back\slash' 'x=$HOME'`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestHumanFigures(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{Duration(0), "0 s"}, {Duration(3), "3 ns"}, {Duration(850 * time.Microsecond), "850 µs"}, {Duration(12 * time.Millisecond), "12 ms"},
		{Duration(5 * time.Second), "5 s"}, {Duration(1240 * time.Millisecond), "1.24 s"}, {Duration(30 * time.Second), "30 s"},
		{Duration(200 * time.Second), "3m20s"}, {Duration(125 * time.Minute), "2h05m"}, {Duration(72 * time.Hour), "3d00h"}, {Duration(-time.Second), "-1 s"},
		{Bytes(0), "0 B"}, {Bytes(1023), "1023 B"}, {Bytes(4096), "4.0 KiB"}, {Bytes(3 << 29), "1.5 GiB"},
		{Count(1, "event"), "1 event"}, {Count(0, "event"), "0 events"}, {Count(2, "process"), "2 processes"}, {Count(2, "directory"), "2 directories"},
		{Cut("abcdef", 4), "abc…"}, {Cut("abcd", 4), "abcd"}, {Cut("abcd", 0), "abcd"},
		{Time(time.Time{}, time.UTC), "-"}, {Time(time.Unix(1, 5e6), time.UTC), "1970-01-01 00:00:01.005Z"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestTable(t *testing.T) {
	var plain, coloured bytes.Buffer
	for w, p := range map[*bytes.Buffer]Palette{&plain: {}, &coloured: {Colour: true}} {
		table := NewTable(p, 0, "ID", "COMMAND")
		table.Row(Plain, "1", "evil\x1b[2J\tname")
		table.Row(Bad, "22", "lost")
		if _, err := table.WriteTo(w); err != nil {
			t.Fatal(err)
		}
	}
	want := "ID  COMMAND\n1   evil\\x1b[2J\\tname\n22  lost\n"
	if plain.String() != want {
		t.Errorf("got\n%s\nwant\n%s", plain.String(), want)
	}
	if got := coloured.String(); !strings.Contains(got, "\x1b[31m22  lost\x1b[0m\n") {
		t.Errorf("no red row in %q", got)
	}
}

func TestTableIsCutToTheTerminal(t *testing.T) {
	var out bytes.Buffer
	table := NewTable(Palette{}, 10)
	table.Row(Plain, "0123456789", "more")
	if _, err := table.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "012345678…\n" {
		t.Errorf("got %q", got)
	}
}

func TestPaletteFollowsTheEnvironment(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want bool
	}{
		{map[string]string{}, false}, // a buffer is no terminal
		{map[string]string{"CLICOLOR_FORCE": "1"}, true},
		{map[string]string{"CLICOLOR_FORCE": "0"}, false},
		{map[string]string{"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, false},
	} {
		got := NewPalette(&bytes.Buffer{}, func(k string) string { return c.env[k] })
		if got.Colour != c.want {
			t.Errorf("%v: colour %v", c.env, got.Colour)
		}
	}
}

func TestPrintErrorShowsTheHint(t *testing.T) {
	var out bytes.Buffer
	err := fmt.Errorf("show: %w", Hint(errors.New("no such\x1b process"), "try %s", "astridctl ps -a"))
	PrintError(&out, Palette{}, "astridctl", err)
	want := "astridctl: show: no such\\x1b process\nhint: try astridctl ps -a\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	if Hint(nil, "x") != nil {
		t.Error("a hint made an error of nil")
	}
}

func TestProgressIsQuietForShortWork(t *testing.T) {
	var out bytes.Buffer
	p := StartProgress(&out, "building")
	p.Stop()
	p.Stop()
	if out.Len() != 0 {
		t.Errorf("wrote %q", out.String())
	}
}

func TestProgressTellsOfLongWork(t *testing.T) {
	var out bytes.Buffer
	p := &Progress{w: &out, what: "building", begun: time.Now().Add(-3 * time.Second)}
	p.show(3 * time.Second)
	if got := out.String(); got != "building… (3s so far)\n" {
		t.Errorf("wrote %q", got)
	}
}
