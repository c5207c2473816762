package conformance

import "fmt"

// commands are what the capsules of a setup may run.
const commands = `"sh", "cat", "true", "sleep", "no-such-program"`

// SetupFor returns what a host is started with for the cases of one guest: the
// same module as four capsules, which differ in what their manifests allow.
// "main" and "other" may do all, "brief" may not start persistent processes,
// and "bare" may start nothing.
func SetupFor(module string, cases []*Case) Setup {
	s := Setup{}
	for name, may := range map[string]string{
		"main": "host_process = [" + commands + "]\nallow_persistent = true", "other": "host_process = [" + commands + "]\nallow_persistent = true",
		"brief": "host_process = [" + commands + "]", "bare": "",
	} {
		s.Capsules = append(s.Capsules, Capsule{Name: name, Module: module, Manifest: fmt.Sprintf(manifest, name, may)})
	}
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
