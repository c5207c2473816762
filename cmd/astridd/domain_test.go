package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// invoke runs the program in process.
func invoke(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = doMain(args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.toml"), filepath.Join(dir, "bad.toml")
	write(t, good, `data_dir = "data"`)
	write(t, bad, "data_dir = \"data\"\nisolaton = \"none\"\n[log]\nlevel = 3\n")
	for _, c := range []struct {
		args           []string
		code           int
		stdout, stderr string // each must be contained; empty: nothing at all
	}{
		{[]string{"--version"}, 0, "astridd ", ""},
		{[]string{"--help"}, 0, "usage: astridd", ""},
		{[]string{"--confg", "x"}, 2, "", "flag provided but not defined: -confg"},
		{[]string{"start"}, 2, "", `argument "start" is not understood`},
		{[]string{}, 2, "", "no data directory; set data_dir"},
		{[]string{"--config", filepath.Join(dir, "none.toml")}, 2, "", "no such file"},
		{[]string{"--config", bad, "--check-config"}, 2, "", "bad.toml:4: log.level: is of type integer; write one of type string"},
		{[]string{"--config", good, "--check-config"}, 0, "configuration ok: data directory " + dir + "/data,", ""},
		{[]string{"--config", good, "--data", "/x", "--check-config"}, 0, "data directory /x, socket /x/control.sock", ""},
		{[]string{"--data", filepath.Join(dir, strings.Repeat("long/", 30)), "--check-config"}, 2, "", "107 at most"},
	} {
		code, stdout, stderr := invoke(c.args...)
		if code != c.code || !fits(stdout, c.stdout) || !fits(stderr, c.stderr) {
			t.Errorf("astridd %q: code %d, stdout %q, stderr %q", c.args, code, stdout, stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		t.Error("checking a configuration makes the data directory")
	}
}

func fits(got, want string) bool {
	if want == "" {
		return got == ""
	}
	return strings.Contains(got, want)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
