package ledger

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/astrid-os/processledger/ledger/segment"
)

// Segments lists the segments of the ledger in dir in order. It opens none.
func Segments(dir string) ([]segment.File, error) { return segment.List(segmentsDir(dir)) }

// CopyRaw lists the segments of the ledger in dir and copies the newest one,
// byte by byte, to w, while it keeps writers out. It opens none of them as a
// database, so damage does not stop it. With a live writer it fails at once
// with a [LockedError] that is ErrWriterActive.
func CopyRaw(dir string, w io.Writer) (files []segment.File, err error) {
	lock, err := lockForReading(dir)
	if err != nil {
		return nil, fmt.Errorf("copy %s: %w", dir, err)
	}
	defer func() { err = errors.Join(err, lock.close()) }()
	files, err = Segments(dir)
	if err != nil || len(files) == 0 {
		return files, err
	}
	f, err := os.Open(files[len(files)-1].Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return files, err
}
