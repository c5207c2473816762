package backup

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/segment"
	"github.com/astrid-os/processledger/ledger/verify"
)

// Format is the version of the manifest.
const Format = 1

// manifestName is the manifest in a copy.
const manifestName = "manifest.json"

// Manifest says what a copy holds.
type Manifest struct {
	Format  int       `json:"format"`
	Ledger  string    `json:"ledger"` // its id
	First   uint64    `json:"first_seq"`
	Last    uint64    `json:"last_seq"`
	Made    time.Time `json:"made"`
	Source  string    `json:"source"` // the data directory
	Files   []File    `json:"files"`
	Skipped []string  `json:"skipped,omitempty"` // what could not be copied, and why
}

// File is one file of a copy.
type File struct {
	Name   string `json:"name"` // path in the copy, with slashes
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // hex
}

// Segments returns how many files of the ledger there are, and their bytes.
func (m *Manifest) Segments() (n int, bytes int64) {
	for _, f := range m.Files {
		if filepath.Ext(f.Name) == ".seg" {
			n, bytes = n+1, bytes+f.Bytes
		}
	}
	return n, bytes
}

// Source is what is copied.
type Source struct {
	Data   string // the data directory; empty: the ledger alone
	Ledger string // the directory of the ledger

	// Newest writes a consistent copy of the newest segment, from a daemon; nil:
	// nobody writes the ledger, and its own file is copied.
	Newest func(w io.Writer) error
}

// Make copies a ledger to the directory to, which must be empty or not exist. It
// returns once everything is on disk and was read back, with the manifest and
// the SHA-256 of its file.
func Make(to string, s Source) (m *Manifest, sum [32]byte, err error) {
	if err := emptyDir(to); err != nil {
		return nil, sum, fmt.Errorf("backup: %w", err)
	}
	c := &copier{to: to, m: &Manifest{Format: Format, Made: time.Now().UTC().Truncate(time.Millisecond), Source: s.Data}}
	if s.Data == "" {
		c.m.Source = s.Ledger
	}
	if err := c.segments(s); err != nil {
		return nil, sum, fmt.Errorf("backup: %w", err)
	}
	if s.Data != "" {
		if err := c.rest(s.Data); err != nil {
			return nil, sum, fmt.Errorf("backup: %w", err)
		}
	}
	if err := c.finish(); err != nil {
		return nil, sum, fmt.Errorf("backup: %w", err)
	}
	sum, err = segment.FileSHA256(filepath.Join(to, manifestName))
	return c.m, sum, err
}

// emptyDir makes a directory, or takes an empty one.
func emptyDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%s is not empty; name a directory that does not exist", dir)
	}
	return err
}

// copier makes one copy.
type copier struct {
	to string
	m  *Manifest
}

// segments copies the newest segment first: it says which sealed ones come
// before it, whatever the daemon begins meanwhile.
func (c *copier) segments(s Source) error {
	if err := os.MkdirAll(filepath.Join(c.to, "ledger", "segments"), 0o700); err != nil {
		return err
	}
	newest := filepath.Join(c.to, "ledger", "segments", "newest.tmp")
	files, err := c.newest(newest, s)
	if err != nil {
		return err
	}
	raw, err := verify.OpenRaw(newest)
	if err != nil {
		return err
	}
	first := raw.Meta.First
	c.m.Ledger, c.m.First = raw.Meta.Ledger.String(), first
	raw.Records(func(seq uint64, _ []byte) { c.m.Last = seq })
	if err := raw.Close(); err != nil {
		return err
	}
	if !raw.MetaOK {
		return fmt.Errorf("the newest segment cannot be read (%v): %w", raw.Faults, ledger.ErrCorrupt)
	}
	for _, f := range files {
		if f.First >= first {
			continue
		}
		if c.m.First > f.First {
			c.m.First = f.First
		}
		if err := c.file(f.Path, "ledger/segments/"+filepath.Base(f.Path), 0o640); err != nil {
			return err
		}
	}
	name := "ledger/segments/" + filepath.Base(segment.Path("", first))
	if err := os.Rename(newest, filepath.Join(c.to, name)); err != nil {
		return err
	}
	return c.note(name)
}

// newest copies the newest segment to path, and lists the ledger's files.
func (c *copier) newest(path string, s Source) (files []segment.File, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if s.Newest != nil {
		if err = s.Newest(f); err == nil {
			files, err = ledger.Segments(s.Ledger)
		}
	} else {
		files, err = ledger.CopyRaw(s.Ledger, f)
		if err == nil && len(files) == 0 {
			err = fmt.Errorf("%s holds no segment", s.Ledger)
		}
	}
	return files, errors.Join(err, f.Sync(), f.Close())
}

// rest copies the keys and the layout. A key that may not be read is an error:
// whoever restores the copy would miss it, and not know it before.
func (c *copier) rest(data string) error {
	keys, err := os.ReadDir(filepath.Join(data, "keys"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if len(keys) > 0 {
		if err := os.Mkdir(filepath.Join(c.to, "keys"), 0o700); err != nil {
			return err
		}
	}
	for _, k := range keys {
		if !k.Type().IsRegular() || filepath.Ext(k.Name()) != "" { // a temporary file of a key that was never used
			c.m.Skipped = append(c.m.Skipped, "keys/"+k.Name()+": no key")
			continue
		}
		if err := c.file(filepath.Join(data, "keys", k.Name()), "keys/"+k.Name(), 0o600); err != nil {
			return err
		}
	}
	err = c.file(filepath.Join(data, "layout"), "layout", 0o644)
	if errors.Is(err, os.ErrNotExist) {
		c.m.Skipped = append(c.m.Skipped, "layout: there is none")
		return nil
	}
	return err
}

// file copies one file.
func (c *copier) file(from, name string, mode os.FileMode) error {
	if err := copyFile(from, filepath.Join(c.to, filepath.FromSlash(name)), mode); err != nil {
		return err
	}
	return c.note(name)
}

// copyFile copies a file and returns when the copy is on disk.
func copyFile(from, to string, mode os.FileMode) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Sync(), w.Close())
}

// note reads a file of the copy back, for the manifest.
func (c *copier) note(name string) error {
	path := filepath.Join(c.to, filepath.FromSlash(name))
	sum, err := segment.FileSHA256(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	c.m.Files = append(c.m.Files, File{Name: name, Bytes: info.Size(), SHA256: hex.EncodeToString(sum[:])})
	return nil
}

// finish makes the names durable and then writes the manifest.
func (c *copier) finish() error {
	b, err := json.MarshalIndent(c.m, "", "  ")
	if err != nil {
		return err
	}
	for _, dir := range []string{"ledger/segments", "ledger", "keys", "", ".."} {
		err := segment.SyncDir(filepath.Join(c.to, dir))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	tmp := filepath.Join(c.to, manifestName+".tmp")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(c.to, manifestName)); err != nil {
		return err
	}
	return segment.SyncDir(c.to)
}

// Read returns the manifest of the copy in dir, after comparing every file with
// it. The error says which file is missing or is not what was copied.
func Read(dir string) (*Manifest, error) {
	b, err := os.ReadFile(filepath.Join(dir, manifestName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is no finished backup: it has no %s", dir, manifestName)
	}
	if err != nil {
		return nil, err
	}
	m := new(Manifest)
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, manifestName), err)
	}
	if m.Format > Format {
		return nil, fmt.Errorf("%s is of format %d, this build knows up to %d: use an astridctl as new as the one that made it", dir, m.Format, Format)
	}
	for _, f := range m.Files {
		if !filepath.IsLocal(filepath.FromSlash(f.Name)) {
			return nil, fmt.Errorf("%s: %q lies outside of the backup", dir, f.Name)
		}
		sum, err := segment.FileSHA256(filepath.Join(dir, filepath.FromSlash(f.Name)))
		if err != nil {
			return nil, err
		}
		if hex.EncodeToString(sum[:]) != f.SHA256 {
			return nil, fmt.Errorf("%s in %s is not what was copied: SHA-256 %x, the manifest says %s", f.Name, dir, sum, f.SHA256)
		}
	}
	return m, nil
}
