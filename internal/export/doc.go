// Package export writes events for other programs: JSON lines, which are
// exact, and CSV, which is safe to open in a spreadsheet.
//
// A [Writer] takes events one after another and holds none back for longer
// than the caller's Flush.
package export
