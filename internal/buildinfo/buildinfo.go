// Package buildinfo tells which build of the program this is.
package buildinfo

import "runtime/debug"

// version is what a packager calls the build, by
//
//	go build -ldflags "-X github.com/astrid-os/processledger/internal/buildinfo.version=1.2.3"
var version string

// Version returns what the build was called, else the module's version as the go
// command stamped it, or the commit it was built from ("devel-0123456789ab", with
// "-dirty" if the tree had changes), or "devel" where nothing is known.
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	return fromCommit(info.Settings)
}

func fromCommit(settings []debug.BuildSetting) string {
	v := "devel"
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			v += "-" + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			v += "-dirty"
		}
	}
	return v
}
