// Package lifecycle lets a capsule prepare itself when it is installed, and
// after it was replaced by another version.
//
//	func init() {
//		lifecycle.OnInstall(func() error {
//			_, err := process.Spawn(process.Request{Cmd: "git", Args: []string{"init", "-q"}})
//			return err
//		})
//	}
//
// Importing it exports astrid-install and astrid-upgrade; what has no function
// does nothing. An error traps: the capsule is served all the same, and the
// host tries again at its next start.
package lifecycle
