// Package migrations brings a data directory to the layout that this build
// uses, one step at a time.
//
// The file "layout" in a data directory says which version it has. [Run] reads
// it and takes the steps that are missing, each in a file of its own
// (0001_layout1.go, …). A step knows the names and bytes of its two layouts by
// frozen copies in its own file and never by the types of today's code: those
// change, and a step must do for ever what it did on the day it was released.
//
// # How a step survives a crash
//
// In this order, each durable before the next begins:
//
//	migrating                a note: from, to, and the name of the backup
//	backup-1-01J….tmp/       copies of what the step will touch, being made
//	backup-1-01J…/           the same, complete
//	(the step itself)        idempotent: it may stop anywhere and run again
//	layout                   the new version: from here on the step is done
//	(migrating removed)
//
// A crash anywhere is picked up by the next Run, which finds the note and goes
// on. The backup stays until an operator removes it. Step 1 makes a new data
// directory and has nothing to back up.
package migrations
