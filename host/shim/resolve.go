//go:build linux

package shim

import (
	"strings"

	"golang.org/x/sys/unix"
)

// site is a directory on the way to an injected file.
type site struct {
	parent *site
	name   string
	path   string // real: no symbolic link in it
	fd     int    // O_PATH; -1: there is no such directory, and one is made for the program

	// loose: programs of the capsule can replace what is in it, from outside
	// of this namespace too. Root's programs can anywhere.
	loose bool

	// trusted: the symbolic links in it are the machine's, not a capsule's.
	trusted bool

	// shared: everybody's place for files that nobody keeps, like /tmp.
	shared bool

	sites map[string]*site
	files map[string]int // index of a file that appears in it
}

// layout is all sites, as a tree.
type layout struct {
	root   *site
	ground Ground
	open   int // sites with a descriptor
	links  int // symbolic links followed for the present path
}

const (
	maxLinks = 40  // as the kernel
	maxSites = 256 // directories on the way that are there, twice the files: each is a descriptor, in the daemon too
)

// resolve finds the directories in which the files with a path of their own
// shall appear. It follows symbolic links only where no program of the capsule
// can change them. The layout must be closed also on error.
func resolve(files []InjectedFile, g Ground) (*layout, error) {
	l := &layout{ground: g}
	fd, err := openPath(unix.AT_FDCWD, "/")
	if err != nil {
		return l, err
	}
	l.root = l.site(nil, "", fd)
	for i, f := range files {
		if f.EnvKey != "" {
			continue
		}
		if reason := l.add(i, f.Path); reason != "" {
			return l, &FileError{Path: f.Path, Reason: reason}
		}
	}
	return l, nil
}

func (l *layout) close() {
	if l.root != nil {
		l.root.close()
	}
}

func (s *site) close() {
	if s.fd >= 0 {
		unix.Close(s.fd)
	}
	for _, below := range s.sites {
		below.close()
	}
}

// add walks to the directory of a path and puts the file into it. The last
// name is never followed: the file appears there whatever was there before.
func (l *layout) add(index int, path string) (why string) {
	l.links = 0
	at, rest := l.root, strings.Split(strings.Trim(path, "/"), "/")
	for len(rest) > 1 {
		next, link, why := l.step(at, rest[0])
		if why != "" {
			return why
		}
		rest = rest[1:]
		if strings.HasPrefix(link, "/") {
			next = l.root
		}
		if link != "" {
			rest = append(names(link), rest...)
		}
		at = next
	}
	return l.put(at, rest[0], index)
}

func names(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// step goes from a directory to a name in it. For a symbolic link it stays and
// returns what the link says.
func (l *layout) step(at *site, name string) (next *site, link, why string) {
	switch known := at.sites[name]; {
	case name == ".":
		return at, "", ""
	case name == ".." && at.parent == nil:
		return at, "", ""
	case name == "..":
		return at.parent, "", ""
	case known != nil:
		return known, "", ""
	}
	if _, taken := at.files[name]; taken {
		return nil, "", "it would lie below another file of the request"
	}
	if at.fd < 0 {
		return l.site(at, name, -1), "", ""
	}
	fd, err := openPath(at.fd, name)
	if err == unix.ENOENT {
		return l.site(at, name, -1), "", ""
	}
	if err != nil {
		return nil, "", at.path + ": " + err.Error()
	}
	return l.enter(at, name, fd)
}

// enter is step for what is there. It owns fd.
func (l *layout) enter(at *site, name string, fd int) (next *site, link, why string) {
	switch kind(fd) {
	case unix.S_IFDIR:
		if l.open++; l.open > maxSites {
			unix.Close(fd)
			return nil, "", "too many directories on the way"
		}
		return l.site(at, name, fd), "", ""
	case unix.S_IFLNK:
		defer unix.Close(fd)
		link, why = l.follow(at, name, fd)
		return at, link, why
	}
	unix.Close(fd)
	return nil, "", join(at.path, name) + " is no directory"
}

// follow reads a symbolic link. One that a program of the capsule could put
// there would lead the host's hand wherever that program wants.
func (l *layout) follow(at *site, name string, fd int) (link, why string) {
	if l.links++; l.links > maxLinks {
		return "", "too many symbolic links"
	}
	if !at.trusted {
		return "", join(at.path, name) + " is a symbolic link that the capsule's programs can change"
	}
	link, err := readlink(fd)
	if err != nil {
		return "", join(at.path, name) + ": " + err.Error()
	}
	return link, ""
}

// site makes a site and finds out what can be known of it.
func (l *layout) site(parent *site, name string, fd int) *site {
	s := &site{parent: parent, name: name, path: "/", fd: fd, sites: map[string]*site{}, files: map[string]int{}}
	if parent != nil {
		s.path = join(parent.path, name)
		parent.sites[name] = s
	}
	if fd < 0 {
		return s
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		s.loose = true
		return s
	}
	s.shared = parent != nil && st.Mode&(unix.S_ISVTX|0o002) == unix.S_ISVTX|0o002
	writable := within(s.path, l.ground.Workspace) || writable(fd, &st)
	s.loose, s.trusted = writable || unix.Geteuid() == 0, !writable
	return s
}

// writable tells whether an ordinary program of this user can change a
// directory; for root, whether anybody else can, since root could change any.
func writable(fd int, st *unix.Stat_t) bool {
	uid := unix.Geteuid()
	if uid == 0 {
		return st.Mode&0o022 != 0
	}
	if unix.Faccessat(fd, ".", unix.W_OK, unix.AT_EACCESS) == nil {
		return true
	}
	// An owner without the right to write can give it to himself. In a user
	// namespace strangers look like nobody, who may be us; but an owner who
	// has the right would not have been refused.
	return st.Uid == uint32(uid) && st.Mode&0o200 == 0
}

// put has a file appear in a directory.
func (l *layout) put(at *site, name string, index int) (why string) {
	real := join(at.path, name)
	if why := ReservedFile(real); why != "" {
		return why
	}
	if within(real, l.ground.Processes) {
		return "the daemon keeps its processes there"
	}
	if _, twice := at.files[name]; twice {
		return "it is the place of another file of the request"
	}
	if at.sites[name] != nil {
		return "another file of the request would lie below it"
	}
	if why := at.room(name); why != "" {
		return why
	}
	at.files[name] = index
	return ""
}

// room tells what on the disk is in the way of a file.
func (s *site) room(name string) (why string) {
	if s.fd < 0 {
		return ""
	}
	if err := unix.Faccessat(s.fd, ".", unix.R_OK, unix.AT_EACCESS); err != nil {
		return s.path + " cannot be listed: " + err.Error()
	}
	fd, err := openPath(s.fd, name)
	if err == unix.ENOENT {
		return ""
	}
	if err != nil {
		return err.Error()
	}
	defer unix.Close(fd)
	if kind(fd) == unix.S_IFDIR {
		return "it is a directory"
	}
	return ""
}

func kind(fd int) uint32 {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0
	}
	return st.Mode & unix.S_IFMT
}

func readlink(fd int) (string, error) {
	var b [unix.PathMax]byte
	n, err := unix.Readlinkat(fd, "", b[:])
	return string(b[:max(n, 0)]), err
}

func join(dir, name string) string { return strings.TrimSuffix(dir, "/") + "/" + name }
