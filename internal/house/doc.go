// Package house holds the house rules as tests: who may import whom, that
// every package says what it is, and that every crash point is named, used and
// listed once. It has no code of its own.
package house
