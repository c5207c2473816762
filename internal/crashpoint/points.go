package crashpoint

import "slices"

// Points lists every crash point of the program. A call of Here with a name
// that is not listed, a name listed twice, and a name without a call are test
// failures.
var Points = slices.Concat(ledgerPoints)

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
