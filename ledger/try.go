package ledger

import (
	"errors"
	"fmt"
	"os"

	"github.com/astrid-os/processledger/ledger/segment"
)

// Try reads the ledger in dir as [Open] does, into a fold that is thrown away,
// and changes nothing. It takes no lock. It is for a process of its own, where
// it is not known whether reading comes to its end: see package segment for what
// a damaged file can do.
func Try(dir string, f Fold) error {
	files, err := segment.List(segmentsDir(dir))
	if err != nil || len(files) == 0 {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	file := files[len(files)-1]
	c := committer{l: &Ledger{o: Options{Fold: f}}, newest: newest{path: file.Path, first: file.First}}
	if err := c.load(); err != nil {
		return fmt.Errorf("try %s: %w", dir, err)
	}
	return nil
}
