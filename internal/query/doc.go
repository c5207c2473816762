// Package query says which events are meant: by time, seq, scope, command,
// kind, outcome and text.
//
// A [Filter] is data that travels as URL parameters; a [Matcher] applies it to
// a stream of events, read in either direction. [ParseTime] understands the
// times that people write. The package reads no clock and no ledger: both are
// given to it.
package query
