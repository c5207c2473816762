package segment

import (
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"github.com/astrid-os/processledger/internal/crashpoint"
)

// Builder makes a new segment under a temporary name. The only crash states
// that ever broke a bbolt file were those before it was first complete, so a
// segment gets its name when it holds its first records and is on disk.
type Builder struct {
	path string
	db   *bolt.DB
}

// Build starts the segment m in dir, with the given opening state. Layout and
// StateSHA256 of m are filled in here. An older unfinished attempt is thrown
// away.
//
// A crash from here until Commit leaves a file with a temporary name, which
// the next opening of the ledger removes ([RemoveLeftovers]).
func Build(dir string, m Meta, state []byte) (*Builder, error) {
	b := &Builder{path: Path(dir, m.First)}
	if err := os.Remove(b.temporary()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	db, err := bolt.Open(b.temporary(), 0o600, &bolt.Options{
		Timeout:      lockTimeout,
		FreelistType: bolt.FreelistMapType,
		NoStatistics: true,
		NoSync:       true, // Commit flushes once
		NoGrowSync:   true,
	})
	if err != nil {
		return nil, errors.Join(err, os.Remove(b.temporary()))
	}
	b.db = db
	m.Layout, m.StateSHA256 = Layout, sha256.Sum256(state)
	if err := db.Update(func(tx *bolt.Tx) error { return putOpening(tx, m, state) }); err != nil {
		return nil, errors.Join(err, b.Discard())
	}
	return b, nil
}

func putOpening(tx *bolt.Tx, m Meta, state []byte) error {
	if err := m.put(tx); err != nil {
		return err
	}
	opening, err := tx.CreateBucket(bucketState)
	if err != nil {
		return err
	}
	if err := opening.Put(keyOpening, state); err != nil {
		return err
	}
	_, err = tx.CreateBucket(bucketEvents)
	return err
}

func (b *Builder) temporary() string { return b.path + temporary }

// Add puts records into the segment. They are not durable before Commit.
func (b *Builder) Add(batch *Batch) error {
	return b.db.Update(func(tx *bolt.Tx) error {
		return putAll(tx.Bucket(bucketEvents), batch.from(0))
	})
}

// Finish makes the file durable under its temporary name. Commit or Discard
// comes after it.
func (b *Builder) Finish() error {
	err := errors.Join(b.db.Sync(), b.db.Close(), syncFile(b.temporary()))
	if err != nil {
		return err
	}
	// A crash here leaves a complete file under its temporary name. Nothing
	// points to it and nothing in it was acknowledged: it is removed at the
	// next opening and made again.
	crashpoint.Here("ledger.create.written")
	return nil
}

// Commit gives the finished segment its name, in place of an older file of
// that name if there is one, and returns when that is durable. renamed is true
// if the name may have changed although there is an error: then nobody knows
// which file the disk holds.
func (b *Builder) Commit() (renamed bool, err error) {
	if err := os.Rename(b.temporary(), b.path); err != nil {
		return false, err
	}
	// A crash here leaves the old name or the new one; both are complete, and
	// nothing that only the new file holds was acknowledged.
	crashpoint.Here("ledger.create.renamed")
	if err := SyncDir(filepath.Dir(b.path)); err != nil {
		return true, err
	}
	// A crash here leaves the new segment as the ledger's newest: the next
	// opening goes on in it.
	crashpoint.Here("ledger.create.durable")
	return true, nil
}

// Path returns the name that the segment gets.
func (b *Builder) Path() string { return b.path }

// Discard removes what was made.
func (b *Builder) Discard() error {
	return errors.Join(b.db.Close(), os.Remove(b.temporary()))
}

// Settle makes the segment at path and its name durable, as far as this process
// finds them: the one that wrote them may have been killed before it had flushed
// them, and then what is read is not what the disk holds. Whoever goes on in the
// file without this could lose what it reads, and more: bbolt uses pages again
// that the last flushed commit still needs.
//
// A crash in here leaves the file as it was.
func Settle(path string) error {
	return errors.Join(syncFile(path), SyncDir(filepath.Dir(path)))
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
