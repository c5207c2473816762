package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("rewrite", false, "write the expected output in the scripts anew")

// TestMain lets the test binary be astridctl for scripts, and the child that
// verify starts.
func TestMain(m *testing.M) {
	testscript.Main(cleaning{m}, map[string]func(){"astridctl": main})
}

// cleaning removes what the tests built.
type cleaning struct{ m *testing.M }

// Run implements testscript.TestingM.
func (c cleaning) Run() int {
	code := c.m.Run()
	if binDir != "" {
		_ = os.RemoveAll(binDir)
	}
	return code
}

// TestScripts runs testdata/VERB_CASE.txt. Beside testscript's commands they
// have the ids of the history's processes in $H1 to $H6, unique beginnings of
// them in $SHORT1 to $SHORT6, and:
//
//	makeledger DIR [N|server]  a ledger in DIR/ledger, with N events a segment, or
//	                       with a persistent process at its end
//	truncate FILE N        cuts FILE off at N bytes
//	damage FILE TEXT       changes the first byte of TEXT in FILE
//	daemon start|stop|kill DIR  astridd on DIR/data; DIR/astridd.toml may exist
//	capsule DIR [NAME]     an example capsule, workbench if not named, in DIR/capsules, served by a daemon on DIR
//	eventually REGEX astridctl …  runs it until its output matches
//	program FILE           the WASI program of testdata/program
//	trapper FILE           a WASI program that traps at once
//	gone FILE              waits until FILE is not there
//	filled FILE            waits until something is in FILE
//	exitcode N astridctl … runs it, and its exit code must be N
//	alike FILE             stdout, with the ids that the ledger made alike, as FILE
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("NO_COLOR", "")
			env.Setenv("TZ", "UTC")
			env.Setenv("HOME", env.WorkDir)
			for n := range byte(7) {
				id := fixtureHandle(n).String()
				env.Setenv(fmt.Sprintf("H%d", n), id)
				env.Setenv(fmt.Sprintf("SHORT%d", n), strings.ToLower(id[:12]))
			}
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "daemon" {
				return hasDaemon(), nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"makeledger": cmdMakeLedger,
			"damage":     cmdDamage,
			"truncate":   cmdTruncate,
			"alike":      cmdAlike,
			"exitcode":   cmdExitCode,
			"daemon":     cmdDaemon,
			"capsule":    cmdCapsule,
			"eventually": cmdEventually,
			"program":    cmdProgram,
			"trapper":    cmdTrapper,
			"gone":       cmdGone,
			"filled":     cmdFilled,
		},
	})
}

func cmdMakeLedger(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: makeledger DIR [N|server]")
	}
	n, err := segmentsOf(args)
	ts.Check(err)
	ts.Check(makeLedger(ts.MkAbs(args[0]), n, len(args) > 1 && args[1] == "server"))
}

func cmdDamage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: damage FILE TEXT")
	}
	file := oneFile(ts, args[0])
	b, err := os.ReadFile(file)
	ts.Check(err)
	at := bytes.Index(b, []byte(args[1]))
	if at < 0 {
		ts.Fatalf("%q is not in %s", args[1], file)
	}
	b[at] ^= 0x20
	ts.Check(os.Chmod(file, 0o600))
	ts.Check(os.WriteFile(file, b, 0o600))
}

func cmdTruncate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: truncate FILE N")
	}
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	file := oneFile(ts, args[0])
	ts.Check(os.Chmod(file, 0o600))
	ts.Check(os.Truncate(file, n))
}

// oneFile is the one file that a pattern names.
func oneFile(ts *testscript.TestScript, pattern string) string {
	files, err := filepath.Glob(ts.MkAbs(pattern))
	ts.Check(err)
	if len(files) != 1 {
		ts.Fatalf("%s names %d files", pattern, len(files))
	}
	return files[0]
}

// vary is what differs between two runs: ids that the ledger makes.
var vary = regexp.MustCompile(`01[0-9A-HJKMNP-TV-Z]{24}`)

// cmdAlike writes stdout to a file with the ids that the ledger made replaced,
// so that cmp can compare it. Handles, which the tests choose, stay.
func cmdAlike(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: alike FILE")
	}
	text := vary.ReplaceAllStringFunc(ts.ReadFile("stdout"), func(id string) string {
		for n := range byte(255) {
			if fixtureHandle(n).String() == id {
				return "HANDLE" + strings.Repeat("-", 17) + fmt.Sprintf("%03d", n)
			}
		}
		return "ID" + strings.Repeat("-", 24)
	})
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Join(lines, "\n")), 0o644))
}

// cmdExitCode runs astridctl and leaves its streams for the
// commands stdout and stderr.
func cmdExitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || args[1] != "astridctl" {
		ts.Fatalf("usage: exitcode N astridctl ARGS")
	}
	err := ts.Exec("astridctl", args[2:]...)
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}
