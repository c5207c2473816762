package conformance

import (
	"fmt"
	"strings"
)

// commands are what the capsules of a setup may run.
const commands = `"sh", "cat", "true", "sleep", "no-such-program"`

// cmdMost is the most bytes of a command.
const cmdMost = 4096

// SetupFor returns what a host is started with for the cases of one guest: the
// same module as several capsules, which differ in what their manifests allow.
// "main", "other", "third", "fourth" and "fifth" may do all, "brief" may not
// start persistent processes, and "bare" may start nothing.
func SetupFor(module string, cases []*Case) Setup {
	s := Setup{}
	long := fmt.Sprintf(", %q, %q", strings.Repeat("x", cmdMost), strings.Repeat("x", cmdMost+1))
	may := "host_process = [" + commands + long + "]"
	add := func(name, capabilities string) {
		s.Capsules = append(s.Capsules, Capsule{Name: name, Module: module, Manifest: fmt.Sprintf(manifest, name, capabilities)})
	}
	for _, name := range []string{"main", "other", "third", "fourth", "fifth"} {
		add(name, may+"\nallow_persistent = true")
	}
	add("brief", may)
	add("bare", "")
	for _, c := range cases {
		for _, p := range c.Profiles {
			p.Principal = c.MapPrincipal(p.Principal)
			s.Profiles = append(s.Profiles, p)
		}
	}
	return s
}

const manifest = `[package]
name = %q
version = "1.0.0"

[[component]]
id = "interpreter"
file = "interpreter.wasm"

[capabilities]
%s

[subscribe."conformance.run"]
handler = "run"
`
