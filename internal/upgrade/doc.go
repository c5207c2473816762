// Package upgrade holds the tests of the orderly restart: real daemons that make
// way for one another, built as two versions, over programs that run on.
package upgrade
