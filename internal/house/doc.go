// Package house holds the house rules as tests: who may import whom, that
// every package and every exported name says what it is, that functions and
// files can be read at once, that the docs' links lead somewhere, and that every
// crash point is named, used and listed once. It has no code of its own.
package house
