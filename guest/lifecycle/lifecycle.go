package lifecycle

var install, upgrade func() error

// OnInstall registers what is done once when the capsule is installed, to be
// called from an init function.
func OnInstall(f func() error) { set(&install, f) }

// OnUpgrade registers what is done once when this version takes the place of
// another.
func OnUpgrade(f func() error) { set(&upgrade, f) }

func set(to *func() error, f func() error) {
	if *to != nil {
		panic("lifecycle: two functions for one event")
	}
	*to = f
}

// perform runs what was registered, if anything was.
func perform(f func() error) error {
	if f == nil {
		return nil
	}
	return f()
}
