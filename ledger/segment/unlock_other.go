//go:build !unix

package segment

import "os"

// unlock does nothing: closing the file gives bbolt's lock back here.
func unlock(*os.File) error { return nil }
