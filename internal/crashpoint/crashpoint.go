// Package crashpoint names the places where a crash would be worst, so that
// tests can have the process die there by a real SIGKILL.
//
// In an ordinary build [Here] does nothing and costs nothing. Built with the
// tag crashpoints, it kills its own process when the environment variable
// ASTRID_CRASH_AT names the point ("name", or "name#3" for the third passing).
// "@DIR" names a directory instead, by which processes that run already can be
// told to die; see dir.go.
//
// Every point stands in a table below, and a test fails for a point without a
// crash test: see [Points].
package crashpoint

// Component is the kind of process that passes a point.
type Component string

// The components.
const (
	Ledger    Component = "ledger"
	Daemon    Component = "daemon"
	Shim      Component = "shim"
	Restart   Component = "restart"
	Recovery  Component = "recovery"
	Migration Component = "migration"
	Salvage   Component = "salvage"
	Late      Component = "late"
	Restore   Component = "restore"
)

// Point is a named place in the code.
type Point struct {
	Name      string
	Component Component
	Leaves    string // what a crash here leaves behind, in one sentence
}
