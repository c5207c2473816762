package segment

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// Names in the directory of segments.
const (
	suffix    = ".seg"       // 20 digits: seq of the first event
	temporary = ".tmp"       // appended to the name while it is made; removed at open
	abandoned = ".abandoned" // appended, with a number, to a file whose commit failed; kept
	damaged   = ".damaged"   // appended, with a number, to a file that was found damaged; kept
	seqDigits = 20           // of the largest uint64
)

// File is one segment in a directory.
type File struct {
	Path  string
	First uint64 // seq of its first event, from the name
}

// Path returns where in dir the segment with the given first seq lies.
func Path(dir string, first uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%0*d%s", seqDigits, first, suffix))
}

// List returns the segments of dir in order. Other files are left out.
func List(dir string) ([]File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, e := range entries {
		if first, ok := parseName(e.Name()); ok {
			files = append(files, File{Path: filepath.Join(dir, e.Name()), First: first})
		}
	}
	slices.SortFunc(files, func(a, b File) int { return cmp.Compare(a.First, b.First) })
	return files, nil
}

// FirstOf returns the seq of the first event of the segment at path, by its name;
// false if it has not the name of a segment.
func FirstOf(path string) (first uint64, ok bool) { return parseName(filepath.Base(path)) }

func parseName(name string) (first uint64, ok bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != seqDigits {
		return 0, false
	}
	first, err := strconv.ParseUint(digits, 10, 64)
	return first, err == nil && first > 0
}

// RemoveLeftovers deletes what a crash while making a segment, or a copy of
// one, left in dir. Only the holder of the writer's lock may call it.
func RemoveLeftovers(dir string) (removed []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), temporary) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return removed, err
		}
		removed = append(removed, e.Name())
	}
	return removed, nil
}

// SetAside gives the file at path a second name that says it is abandoned, so
// that it is kept when another file takes its place, and so that whoever opens
// it next knows ([IsAbandoned]). It returns that name; if the file has one
// already, it does nothing more.
func SetAside(path string) (string, error) { return setAside(path, abandoned) }

// SetDamagedAside is [SetAside] for a file that was found damaged: the name says
// so, and nobody asks for it later.
func SetDamagedAside(path string) (string, error) { return setAside(path, damaged) }

func setAside(path, mark string) (string, error) {
	if name, err := markedName(path, mark); name != "" || err != nil {
		return name, err
	}
	for n := 1; ; n++ {
		name := path + mark + "." + strconv.Itoa(n)
		err := os.Link(path, name)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		return name, SyncDir(filepath.Dir(path))
	}
}

// IsAbandoned tells whether a commit to the file at path failed once: it must
// not be appended to.
func IsAbandoned(path string) (bool, error) {
	name, err := markedName(path, abandoned)
	return name != "", err
}

// markedName returns the name by which [SetAside] or [SetDamagedAside] marked
// this very file.
func markedName(path, mark string) (string, error) {
	this, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	names, err := filepath.Glob(path + mark + ".*")
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if other, err := os.Stat(name); err == nil && os.SameFile(this, other) {
			return name, nil
		}
	}
	return "", nil
}

// SyncDir makes the names in dir durable. Windows has no such call and needs
// none.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
