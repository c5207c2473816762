package daemon

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/astrid-os/processledger/projector"
)

// keyBytes is the length of a key: that of the digests it keys.
const keyBytes = 32

// keys are the keys of a data directory, one a purpose.
type keys struct {
	redaction  []byte // of the digests of what is never stored
	processIDs []byte // that the ids of persistent processes are derived by
}

// loadKeys loads those that need no ledger.
func loadKeys(data string) (k keys, err error) {
	k.redaction, err = loadKey(data, "redaction", "the digests in the ledger cannot be compared any more")
	return k, err
}

// processIDsKey is the name of the key that the ids of persistent processes are
// derived by.
const processIDsKey = "process-ids"

// loadProcessIDs loads that key. A new one is made only while the ledger holds no
// process whose id it would lose: else its creator could never use or release it
// again, and whoever lost the key is to know at once.
func (k *keys) loadProcessIDs(data string, s *projector.State) (err error) {
	held := 0
	for _, h := range s.Handles() {
		if len(h.ProcessIDHash) > 0 {
			held++
		}
	}
	path := filepath.Join(data, "keys", processIDsKey)
	if _, err := os.Stat(path); held > 0 && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("key %s: %s is missing, and the ledger holds %d persistent processes whose ids were made with it; restore it from a backup", processIDsKey, path, held)
	}
	k.processIDs, err = loadKey(data, processIDsKey, "capsules do not know their persistent processes any more")
	return err
}

// loadKey returns the key of one purpose, keys/NAME in the data directory, and
// makes it at the first start. The file holds it in hex. without is what is lost
// with the key.
//
// A crash before the rename leaves a temporary file and no key; nothing was
// keyed by it, and the next start makes another.
func loadKey(data, name, without string) ([]byte, error) {
	dir := filepath.Join(data, "keys")
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("key %s: %w", name, err)
	}
	path := filepath.Join(dir, name)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return makeKey(path)
	case err != nil:
		return nil, fmt.Errorf("key %s: %w", name, err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != keyBytes {
		return nil, fmt.Errorf("key %s: %s does not hold %d bytes in hex; restore it from a backup (without it %s)",
			name, path, keyBytes, without)
	}
	// Whoever made it may have been killed before its name was durable. What
	// is keyed by it from here on must not outlive it.
	if err := syncDir(dir); err != nil {
		return nil, fmt.Errorf("key %s: %w", name, err)
	}
	return key, nil
}

func makeKey(path string) ([]byte, error) {
	key := make([]byte, keyBytes)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	if err := writeDurably(path, []byte(hex.EncodeToString(key)+"\n")); err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	return key, nil
}

// writeDurably makes a file of mode 0600 that is there whole or not at all.
func writeDurably(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// makeDir makes a directory of mode 0700 if it is missing, so that a key in it
// is not lost with it after a crash: also where an earlier start made it and was
// killed before its name was durable.
func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return errors.Join(err, syncDir(filepath.Dir(dir)))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
