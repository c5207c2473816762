// Package crashstories tells stories of a daemon's life that fit no cell of
// internal/crashmatrix, such as its first start, a restored backup, a shim that is
// silent, an orderly restart, and kills at each crash point that they come by.
// It holds tests only, among them the one that no crash point goes untested.
package crashstories
