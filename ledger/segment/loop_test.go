package segment

import (
	"encoding/binary"
	"os"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// TestLoop has a page of the events' tree lead back to itself, and to its root,
// from its first, middle and last element: bbolt would follow it for ever.
func TestLoop(t *testing.T) {
	for _, element := range []string{"first", "middle", "last"} {
		for _, to := range []string{"itself", "root"} {
			t.Run(element+" to "+to, func(t *testing.T) {
				path := build(t, t.TempDir(), 1, 60000, "")
				root, branch := branches(t, path)
				if root == branch {
					t.Fatal("the tree has one branch only: more events are needed")
				}
				target := branch
				if to == "root" {
					target = root
				}
				lead(t, path, branch, element, target)
				for _, a := range []Access{Random, Scan} {
					_, err := OpenRead(path, a)
					wantIs(t, err, ErrCorrupt)
				}
				_, err := OpenNewest(path, 1<<20)
				wantIs(t, err, ErrCorrupt)
			})
		}
	}
}

// branches returns the root of the events' tree, and a branch below it.
func branches(t *testing.T, path string) (root, branch uint64) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: lockTimeout})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bolt.Tx) error {
		root = uint64(tx.Bucket(bucketEvents).Root())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	page := readPage(t, path, root)
	branch = binary.NativeEndian.Uint64(page[pageHeader+8:])
	if binary.NativeEndian.Uint16(readPage(t, path, branch)[8:]) != branchFlag {
		branch = root
	}
	return root, branch
}

func readPage(t *testing.T, path string, id uint64) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, os.Getpagesize())
	if _, err := f.ReadAt(page, int64(id)*int64(len(page))); err != nil {
		t.Fatal(err)
	}
	return page
}

// lead has an element of a branch lead to a page.
func lead(t *testing.T, path string, branch uint64, element string, to uint64) {
	t.Helper()
	page := readPage(t, path, branch)
	last := int(binary.NativeEndian.Uint16(page[10:])) - 1
	n := map[string]int{"first": 0, "middle": last / 2, "last": last}[element]
	var id [8]byte
	binary.NativeEndian.PutUint64(id[:], to)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(id[:], int64(branch)*int64(len(page))+pageHeader+int64(n)*branchElement+8); err != nil {
		t.Fatal(err)
	}
}
