package migrations

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The names of the runner's own files in a data directory. Every layout keeps
// them: they are how a layout is told at all.
const (
	layoutName = "layout"    // "1\n": the version, in decimal
	noteName   = "migrating" // the note of a step under way
	backupName = "backup-"   // + from + "-" + ULID
	tmpSuffix  = ".tmp"      // of what is being written
)

// Read returns the layout version of a data directory, 0 if it is empty, new,
// or does not exist. It changes nothing. A directory that is not ours is
// ErrForeign, whatever its layout file says that is no number is ErrDamaged.
func Read(dataDir string) (int, error) {
	b, err := os.ReadFile(filepath.Join(dataDir, layoutName))
	if err == nil {
		return parseLayout(dataDir, b)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	return 0, checkOurs(dataDir)
}

func parseLayout(dataDir string, b []byte) (int, error) {
	text, ok := strings.CutSuffix(string(b), "\n")
	v, err := strconv.Atoi(text)
	if !ok || err != nil || v < 1 || text != strconv.Itoa(v) {
		return 0, fmt.Errorf("%w: %s holds %.40q where the number of a layout should be",
			ErrDamaged, filepath.Join(dataDir, layoutName), b)
	}
	return v, nil
}

// mayPrecede are the names that may stand in a directory before it is ours:
// the lock that whoever runs us holds, and what file systems and operators put
// there.
var mayPrecede = map[string]bool{
	"lock": true, "control.sock": true, "lost+found": true, "capsules": true, "astridd.toml": true,
}

// checkOurs refuses a directory without layout file in which something stands
// that step 1 has not put there: it may be somebody's home.
func checkOurs(dataDir string) error {
	entries, err := os.ReadDir(dataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	strange := ""
	for _, e := range entries {
		switch name := e.Name(); {
		case name == noteName:
			return nil // a crash in step 1 left it; the note comes before all else
		case mayPrecede[name], name == noteName+tmpSuffix:
		case strange == "":
			strange = name
		}
	}
	if strange != "" {
		return fmt.Errorf("%w: %s has no file %q and is not empty (it holds %q); name an empty or new directory",
			ErrForeign, dataDir, layoutName, strange)
	}
	return nil
}

// note is what stands in the note of a step under way.
type note struct {
	from, to int
	backup   string // name of the backup directory; empty: nothing to back up
}

// String is the note's text as it stands in the file; readNote takes no other.
func (n note) String() string {
	return fmt.Sprintf("from %d to %d backup %q\n", n.from, n.to, n.backup)
}

// readNote returns the note, and false if there is none.
func readNote(dataDir string) (n note, ok bool, err error) {
	b, err := os.ReadFile(filepath.Join(dataDir, noteName))
	if errors.Is(err, fs.ErrNotExist) {
		return n, false, nil
	}
	if err != nil {
		return n, false, err
	}
	if _, err := fmt.Fscanf(bytes.NewReader(b), "from %d to %d backup %q\n", &n.from, &n.to, &n.backup); err != nil || n.String() != string(b) {
		return n, false, fmt.Errorf("%w: %s holds %.80q", ErrDamaged, filepath.Join(dataDir, noteName), b)
	}
	if n.backup != "" && (filepath.Base(n.backup) != n.backup || !strings.HasPrefix(n.backup, backupName)) {
		return n, false, fmt.Errorf("%w: %s names %q as backup", ErrDamaged, filepath.Join(dataDir, noteName), n.backup)
	}
	return n, true, nil
}
