package powercut

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Lay makes directories and files of a state, of what is at or below the given
// paths; none: of all. What many states hold is laid
// once, in the directory store, and linked from there, unless own says of a
// path that whoever looks at the state may write to it. store and dir are on
// the same file system.
func (s *State) Lay(dir, store string, below []string, own func(path string) bool) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, d := range s.dirs {
		if within(d, below) {
			if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
				return err
			}
		}
	}
	for path, c := range s.files {
		if !within(path, below) {
			continue
		}
		if err := c.lay(filepath.Join(dir, path), store, c.kept && !own(path)); err != nil {
			return err
		}
	}
	return nil
}

// within tells whether a path is one of those, below one, or above one.
func within(path string, below []string) bool {
	if len(below) == 0 {
		return true
	}
	for _, b := range below {
		if strings.HasPrefix(path+"/", b+"/") || strings.HasPrefix(b+"/", path+"/") {
			return true
		}
	}
	return false
}

func (c *content) lay(path, store string, shared bool) error {
	if !shared {
		return c.write(path)
	}
	kept := filepath.Join(store, fmt.Sprintf("%016x", c.key))
	err := os.Link(kept, path)
	if !os.IsNotExist(err) {
		return err
	}
	if err := c.write(kept); err != nil {
		return err
	}
	return os.Link(kept, path)
}

// write makes a file; zeros at its end take no room.
func (c *content) write(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(c.data); err == nil {
		err = f.Truncate(c.size)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
