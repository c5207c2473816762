//go:build linux

package act

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/astrid-os/processledger/host/shim"
)

// File is laid before one program. Exactly one of EnvKey and Path is set.
type File struct {
	EnvKey  string // variable in which the program finds the file's path
	Path    string // absolute and clean: where the program finds it
	Content []byte
}

// ReservedFile says why no file may be laid at a clean absolute path whatever is
// there; empty if one may. It looks at nothing but the path.
func ReservedFile(path string) string { return shim.ReservedFile(path) }

// CheckFiles tells whether the files could be laid now, without laying them:
// what is on the disk may be in the way. Whoever lays them looks again. The
// error is ErrFiles with the path and the reason, or the system's.
func (h *Hands) CheckFiles(files []File, workspace string) error {
	var paths []string
	for _, f := range files {
		if f.EnvKey == "" {
			paths = append(paths, f.Path)
		}
	}
	if len(paths) == 0 {
		return nil
	}
	err := shim.CheckFiles(paths, h.ground(workspace))
	var file *shim.FileError
	if errors.As(err, &file) {
		return fmt.Errorf("%w: %w", ErrFiles, err)
	}
	return err
}

// ground is by what the shim judges the places of files.
func (h *Hands) ground(workspace string) shim.Ground {
	processes := h.processes()
	if real, err := filepath.EvalSymlinks(processes); err == nil {
		processes = real
	}
	return shim.Ground{Workspace: workspace, Processes: processes}
}

func wireFiles(files []File) (out []shim.InjectedFile) {
	for _, f := range files {
		out = append(out, shim.InjectedFile{EnvKey: f.EnvKey, Path: f.Path, Size: uint64(len(f.Content))})
	}
	return out
}

func contents(files []File) (out [][]byte) {
	for _, f := range files {
		out = append(out, f.Content)
	}
	return out
}
