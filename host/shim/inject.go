//go:build linux

package shim

import "strings"

// InjectedFile is a file that exists for one program only. The contents of all
// stand one after another in a memfd that the shim inherits.
type InjectedFile struct {
	EnvKey string // variable that shall hold the file's path; the place is FilesDir
	Path   string // absolute, clean path at which the file shall appear; only if EnvKey is empty
	Size   uint64 // bytes of content
}

// FilesDir is where a program with injected files finds those that have no
// place of their own. It is a name that no machine uses, in the one directory
// that no program of a capsule can move.
const FilesDir = "/.astrid-files"

// FileError says why a file cannot be laid where it was asked for.
type FileError struct {
	Path   string // as asked for
	Reason string
}

// Error reads like "/proc/x: reason".
func (e *FileError) Error() string { return e.Path + ": " + e.Reason }

// reservedTrees are what a program, and the kernel's view of it, rest on.
var reservedTrees = []string{"/proc", "/sys", "/dev", FilesDir}

// loaderFiles decide which code every program loads before it does what it is
// for, as the variables LD_* do.
const loaderFiles = "/etc/ld.so."

// ReservedFile says why nothing may be laid at a clean absolute path whatever
// is there, empty if it may.
func ReservedFile(path string) string {
	for _, tree := range reservedTrees {
		if within(path, tree) {
			return tree + " is the machine's own"
		}
	}
	if strings.HasPrefix(path, loaderFiles) {
		return "the dynamic loader's files decide what code a program loads"
	}
	return ""
}

// within tells whether a clean path is tree or below it.
func within(path, tree string) bool {
	rest, ok := strings.CutPrefix(path, strings.TrimSuffix(tree, "/"))
	return ok && tree != "" && (rest == "" || rest[0] == '/')
}

// Ground are the directories by which files are judged, absolute and free of
// symbolic links.
type Ground struct {
	Workspace string // programs of the capsule can change what is in it
	Processes string // of the daemon: nothing is laid here
}

// CheckFiles finds out, without mounting anything, whether files can be laid at
// these clean absolute paths. The answer holds for now only; whoever lays them
// looks again. The error is a *FileError, or the kernel's about "/".
func CheckFiles(paths []string, g Ground) error {
	files := make([]InjectedFile, len(paths))
	for i, p := range paths {
		files[i].Path = p
	}
	plan, err := resolve(files, g)
	plan.close()
	return err
}
