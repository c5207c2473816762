// Package torture kills daemons, shims and launchers at random moments and at
// random crash points, over one data directory that grows from round to round,
// and compares ledger, projections, shim directories, /proc and witness after
// each. `make torture` runs it for as many kills as are wanted, from a seed; the
// tests run it for a moment. It holds tests only.
package torture
