package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/policy"
)

// workspace returns the directory that a capsule works in for a principal, and
// makes it where it is missing.
func (h *Host) workspace(c Caller) (string, error) {
	if !policy.ValidPrincipal(c.Principal) || !plainName(c.Capsule) {
		return "", fmt.Errorf("workspace of principal %.64q and capsule %.64q: not plain names", c.Principal, c.Capsule)
	}
	dir := filepath.Join(h.workspaces, c.Principal, c.Capsule)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("workspace: %w", err)
	}
	return filepath.EvalSymlinks(dir)
}

// plainName tells whether s can be one component of a path.
func plainName(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= 255 && !strings.ContainsAny(s, "/\x00")
}

// resolveCwd returns the absolute directory, free of symlinks, that a guest's
// cwd means in its workspace root. nil means the root.
//
// The kernel resolves it (openat2, RESOLVE_BENEATH), so no race between a
// check and its use inside this function can lead out of the workspace.
func resolveCwd(root string, cwd *string) (string, *Error) {
	rel := "."
	if cwd != nil {
		var refused *Error
		if rel, refused = lexicalCwd(*cwd); refused != nil {
			return "", refused
		}
	}
	dir, err := openBeneath(root, rel)
	if errors.Is(err, unix.EXDEV) {
		// An absolute symlink counts as leading out for the kernel, also
		// where it leads to a place inside: name that place and ask again.
		if inside, ok := evalInside(root, rel); ok {
			dir, err = openBeneath(root, inside)
		}
	}
	if err != nil {
		return "", cwdError(err)
	}
	return dir, nil
}

// openBeneath resolves rel below root and returns the path of what it found.
func openBeneath(root, rel string) (string, error) {
	rootFD, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("workspace: %w", err)
	}
	defer unix.Close(rootFD)
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	}
	fd, err := openat2(rootFD, rel, &how)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
}

// evalInside resolves all symlinks of rel and returns the place relative to
// root, and false if that is outside.
func evalInside(root, rel string) (string, bool) {
	real, err := filepath.EvalSymlinks(filepath.Join(root, rel))
	if err != nil {
		return "", false
	}
	inside, err := filepath.Rel(root, real)
	return inside, err == nil && filepath.IsLocal(inside)
}

// openat2 repeats the call while the kernel says that a rename elsewhere kept
// it from being sure (EAGAIN), a bounded number of times.
func openat2(dir int, path string, how *unix.OpenHow) (fd int, err error) {
	for range 100 {
		fd, err = unix.Openat2(dir, path, how)
		if err != unix.EAGAIN && err != unix.EINTR {
			return fd, err
		}
	}
	return fd, err
}

// lexicalCwd refuses what is refused whatever is on the disk, and returns the
// path relative to the workspace.
func lexicalCwd(cwd string) (string, *Error) {
	if strings.HasPrefix(cwd, "home://") || strings.HasPrefix(cwd, "shared://") {
		scheme, _, _ := strings.Cut(cwd, ":")
		return "", errorf(CapabilityDenied, "%s:// is not granted", scheme)
	}
	rel := strings.TrimPrefix(cwd, "cwd://")
	switch {
	case hasNUL(rel):
		return "", errorf(InvalidInput, "the working directory contains NUL")
	case len(rel) >= unix.PathMax:
		return "", errorf(InvalidInput, "the working directory has %d bytes, at most %d are taken", len(rel), unix.PathMax-1)
	case strings.HasPrefix(rel, "/"):
		return "", errorf(BoundaryEscape, "the working directory is absolute")
	}
	for part := range strings.SplitSeq(rel, "/") {
		if part == ".." {
			return "", errorf(BoundaryEscape, "the working directory contains ..")
		}
	}
	if rel == "" {
		rel = "."
	}
	return rel, nil
}

func cwdError(err error) *Error {
	switch {
	case errors.Is(err, unix.EXDEV):
		return errorf(BoundaryEscape, "the working directory leads out of the workspace")
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return errorf(InvalidInput, "the working directory does not exist")
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENAMETOOLONG), errors.Is(err, unix.EACCES):
		return errorf(InvalidInput, "the working directory cannot be entered: %v", err)
	default:
		return errorf(Unknown, "working directory: %v", err)
	}
}
