package crashpoint

// Points lists every crash point of the program. A call of Here with a name
// that is not listed, a name listed twice, and a name without a call are test
// failures.
var Points = []Point{
	// host/shim
	{"shim.ready.unwritten", Shim, "a directory with a free lock and no go: nothing ran"},
	{"shim.ready.written", Shim, "the same with ready: nothing ran"},
	{"shim.go.unwritten", Shim, "the same, although go was sent: nothing ran"},
	{"shim.go.written", Shim, "go and neither started nor failed: may have run"},
	{"shim.started.unwritten", Shim, "go and neither started nor failed: it ran, and died with its shim"},
	{"shim.started.written", Shim, "started and no exit: it ran, and died with its shim"},
	{"shim.failed.unwritten", Shim, "go and neither started nor failed: it did not run, and nobody can know"},
	{"shim.failed.written", Shim, "failed, and nobody was told: recovery reads it"},
	{"shim.exit.reaped", Shim, "started and no exit: the program had ended by itself, and only the second witness knows how"},
	{"shim.exit.unwritten", Shim, "the same, with all output in the rings"},
	{"shim.exit.written", Shim, "an exit record that nobody was told of: recovery reads it"},
	{"shim.exit.told", Shim, "an exit record that was told and not synced"},
	{"shim.exit.synced", Shim, "an exit record written by a shim alone: recovery reads it"},
}
