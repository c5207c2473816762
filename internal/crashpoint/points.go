package crashpoint

import "slices"

// Points lists every crash point of the program. A call of Here with a name
// that is not listed, a name listed twice, and a name without a call are test
// failures.
var Points = slices.Concat(ledgerPoints, shimPoints)

// ledgerPoints are passed by whoever writes the ledger.
var ledgerPoints = []Point{
	{"ledger.create.written", Ledger, "a complete segment under a temporary name, which the next opening removes"},
	{"ledger.create.renamed", Ledger, "the new segment, or on a lost power supply what was there before it; nothing in it was acknowledged"},
	{"ledger.create.durable", Ledger, "the new segment as the newest; the next opening goes on in it"},
	{"ledger.commit.begin", Ledger, "nothing of the batch, of which nobody was told"},
	{"ledger.commit.durable", Ledger, "the whole batch, of which nobody was told"},
	{"ledger.commit.published", Ledger, "the whole batch; those who waited for it were not told"},
	{"ledger.roll.sealed", Ledger, "a sealed newest segment; the next opening begins its successor"},
	{"ledger.roll.opened-to-auditors", Ledger, "a sealed newest segment; the next opening begins its successor"},
	{"ledger.fail.marked", Ledger, "a newest segment that is marked as abandoned; the next opening salvages it"},
	{"ledger.salvage.set-aside", Ledger, "an abandoned segment and its finished copy under a temporary name; the next opening salvages again"},
}

// shimPoints are passed by the parent of a program.
var shimPoints = []Point{
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
