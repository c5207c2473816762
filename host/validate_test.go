package host

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/astrid-os/processledger/ledger/event"
)

func TestValidate(t *testing.T) {
	env := func(n int) (out []EnvVar) {
		for i := range n {
			out = append(out, EnvVar{Key: "K" + strings.Repeat("x", i)})
		}
		return out
	}
	one := func(k, v string) Request { return Request{Cmd: "c", Env: []EnvVar{{k, v}}} }
	secs := uint64(1)
	cases := []struct {
		name string
		req  Request
		want Code // 255: fine
	}{
		{"plain", Request{Cmd: "git", Args: []string{"status"}}, 255},
		{"longest command", Request{Cmd: strings.Repeat("c", 4<<10)}, 255},
		{"command too long", Request{Cmd: strings.Repeat("c", 4<<10+1)}, InvalidInput},
		{"empty command", Request{}, InvalidInput},
		{"flag", Request{Cmd: "--bind"}, InvalidInput},
		{"NUL in command", Request{Cmd: "a\x00b"}, InvalidInput},
		{"4096 arguments", Request{Cmd: "c", Args: make([]string, 4096)}, 255},
		{"4097 arguments", Request{Cmd: "c", Args: make([]string, 4097)}, InvalidInput},
		{"1 MiB of arguments", Request{Cmd: "c", Args: []string{strings.Repeat("a", 1<<20)}}, 255},
		{"1 MiB and 1", Request{Cmd: "c", Args: []string{strings.Repeat("a", 1<<20), "b"}}, InvalidInput},
		{"NUL in argument", Request{Cmd: "c", Args: []string{"a\x00"}}, InvalidInput},
		{"4 MiB of stdin", Request{Cmd: "c", Stdin: make([]byte, 4<<20)}, 255},
		{"4 MiB and 1", Request{Cmd: "c", Stdin: make([]byte, 4<<20+1)}, TooLarge},
		{"an env of its own", one("GOCACHE", "/x"), 255},
		{"256 variables", Request{Cmd: "c", Env: envN(256)}, 255},
		{"257 variables", Request{Cmd: "c", Env: envN(257)}, TooLarge},
		{"long names", Request{Cmd: "c", Env: env(256)}, TooLarge},
		{"longest value", one("A", strings.Repeat("v", 64<<10)), 255},
		{"value too long", one("A", strings.Repeat("v", 64<<10+1)), TooLarge},
		{"NUL in value", one("A", "\x00"), InvalidInput},
		{"empty key", one("", "v"), InvalidInput},
		{"key with =", one("A=B", "v"), InvalidInput},
		{"key with a digit first", one("1A", "v"), InvalidInput},
		{"key twice", Request{Cmd: "c", Env: []EnvVar{{"A", "1"}, {"A", "2"}}}, InvalidInput},
		{"LANG", one("LANG", "C"), 255},
		{"PATH", one("PATH", "/x"), InvalidInput},
		{"LD_PRELOAD", one("LD_PRELOAD", "/x"), InvalidInput},
		{"DYLD_X", one("DYLD_X", "/x"), InvalidInput},
		{"LDX", one("LDX", "/x"), 255},
		{"BASH_ENV", one("BASH_ENV", "/x"), InvalidInput},
		{"limits", Request{Cmd: "c", Limits: &event.Limits{CPUSeconds: &secs}}, Unknown},
		{"limits without a limit", Request{Cmd: "c", Limits: &event.Limits{}}, 255},
	}
	for _, c := range cases {
		err := validate(&c.req)
		switch {
		case c.want == 255 && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != 255 && (err == nil || err.Code != c.want):
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func envN(n int) (out []EnvVar) {
	for i := range n {
		out = append(out, EnvVar{Key: "K" + string(rune('A'+i%26)) + strings.Repeat("_", i/26)})
	}
	return out
}

func TestEnviron(t *testing.T) {
	daemon := map[string]string{"PATH": "/bin", "LANG": "C", "TZ": "UTC", "SECRET": "s"}
	lookup := func(k string) (string, bool) { v, ok := daemon[k]; return v, ok }
	got := environ(lookup, []EnvVar{{"TZ", "CET"}, {"HOME", "/w"}}, []FileInjection{{EnvKey: new("LANG")}})
	want := []string{"PATH=/bin", "TZ=CET", "HOME=/w"}
	if !slices.Equal(got, want) {
		t.Errorf("environ = %q, want %q", got, want)
	}
}

func TestResolveCwd(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(base, "root")
	for _, dir := range []string{root, filepath.Join(root, "a", "b"), filepath.Join(base, "rootless")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	links := map[string]string{
		"in": "a/b", "round": "a/../a", "out": "..", "abs-in": filepath.Join(root, "a"), "abs-out": "/",
		"sibling": filepath.Join(base, "rootless"), "loop": "loop", "hop": "out/root",
	}
	for name, to := range links {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	str := func(s string) *string { return &s }
	cases := []struct {
		cwd  *string
		dir  string // below root, if it is granted
		code Code
	}{
		{nil, "", 0}, {str(""), "", 0}, {str("."), "", 0}, {str("cwd://"), "", 0}, {str("a/b"), "a/b", 0},
		{str("cwd://a/./b/"), "a/b", 0}, {str("in"), "a/b", 0}, {str("round"), "a", 0}, {str("abs-in"), "a", 0},
		{str("abs-in/b"), "a/b", 0},
		{str("/"), "", BoundaryEscape}, {str("cwd:///etc"), "", BoundaryEscape}, {str(".."), "", BoundaryEscape},
		{str("a/../a"), "", BoundaryEscape}, {str("out"), "", BoundaryEscape}, {str("abs-out"), "", BoundaryEscape},
		{str("abs-out/tmp"), "", BoundaryEscape}, {str("sibling"), "", BoundaryEscape},
		{str("none"), "", InvalidInput}, {str("file"), "", InvalidInput}, {str("loop"), "", InvalidInput},
		{str("a\x00"), "", InvalidInput}, {str(strings.Repeat("a", 300)), "", InvalidInput},
		{str("home://x"), "", CapabilityDenied}, {str("shared://"), "", CapabilityDenied},
	}
	for _, c := range cases {
		name := "(none)"
		if c.cwd != nil {
			name = *c.cwd
		}
		dir, err := resolveCwd(root, c.cwd)
		if c.code == 0 && c.dir == "" && c.cwd != nil && (*c.cwd == "home://x" || *c.cwd == "shared://") {
			if err == nil || err.Code != CapabilityDenied {
				t.Errorf("%s: %v, want capability-denied", name, err)
			}
			continue
		}
		if c.code != 0 {
			if err == nil || err.Code != c.code {
				t.Errorf("%s: %q, %v, want %v", name, dir, err, c.code)
			}
			continue
		}
		if err != nil || dir != filepath.Join(root, c.dir) {
			t.Errorf("%s: %q, %v, want %q", name, dir, err, filepath.Join(root, c.dir))
		}
	}
}
