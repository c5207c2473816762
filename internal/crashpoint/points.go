package crashpoint

import "slices"

// Points lists every crash point of the program. A call of Here with a name
// that is not listed, a name listed twice, and a name without a call are test
// failures.
var Points = slices.Concat(ledgerPoints, migrationPoints)

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

// migrationPoints are passed in each step from one layout to the next.
var migrationPoints = []Point{
	{"migration.begin", Migration, "a data directory as it was, or a new one that is empty"},
	{"migration.noted", Migration, "the note of the step; the next run makes the backup and applies it"},
	{"migration.backup-copying", Migration, "part of a backup under a temporary name, which the next run makes again"},
	{"migration.backup-copied", Migration, "a backup under a temporary name, which the next run makes again"},
	{"migration.backed-up", Migration, "note and complete backup; the next run applies the step"},
	{"migration.applied", Migration, "the step's work under the old layout's number; the next run applies the step again"},
	{"migration.layout-written", Migration, "the new layout, and the note, which the next run removes"},
}
