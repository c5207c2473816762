package demo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/astrid-os/processledger/internal/control"
)

// site is the temporary directory with everything in it.
type site struct {
	say  *narrator
	self string // this program, which the demo also runs as a person would
	root string // the module's sources

	dir       string // everything below is in it
	bin       string // astridd, astrid-shim
	capsules  string // what the daemon serves
	data      string // the daemon's data directory
	tmp       string // temporary files of all that runs here
	config    string // path of the daemon's configuration
	isolation string // as configured

	client *control.Client
	daemon *daemon // nil if none runs
	calls  calls

	programs   []*program  // all that write a witness
	alice, bob *program    // those that run when the daemon is killed
	server     *server     // which outlives every daemon
	before     *control.Ps // the table just before that
}

// newSite makes the directory. Its name is short: the path of a unix socket
// has at most 107 bytes.
func newSite(say *narrator, root, self string) (*site, error) {
	parent := ""
	if len(os.TempDir()) > 60 {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "astrid-demo-")
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	s := &site{
		say: say, self: self, root: root, dir: dir, bin: filepath.Join(dir, "bin"), capsules: filepath.Join(dir, "capsules"),
		data: filepath.Join(dir, "data"), tmp: filepath.Join(dir, "tmp"), config: filepath.Join(dir, "astridd.toml"),
		isolation: "pidns",
	}
	s.client = control.NewClient(filepath.Join(s.data, "control.sock"))
	for _, d := range []string{s.bin, s.capsules, s.tmp} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	return s, nil
}

// configure writes the daemon's configuration.
func (s *site) configure() error {
	text := fmt.Sprintf(`data_dir = %q
capsules_dir = %q
shim = %q
isolation = %q

# bob may have no background process, alice the default number.
[principal.bob]
max_background_processes = 0
`, s.data, s.capsules, filepath.Join(s.bin, "astrid-shim"), s.isolation)
	return os.WriteFile(s.config, []byte(text), 0o644)
}

// environment is that of the commands the demo runs: it points them at the
// demo's daemon and at no other, and their temporary files at its directory.
func (s *site) environment() []string {
	env := []string{"ASTRID_DATA=" + s.data, "TMPDIR=" + s.tmp}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "ASTRID_") && !strings.HasPrefix(kv, "TMPDIR=") {
			env = append(env, kv)
		}
	}
	if s.say.palette.Colour {
		env = append(env, "CLICOLOR_FORCE=1")
	}
	return env
}
