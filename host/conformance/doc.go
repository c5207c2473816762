// Package conformance shows that anybody's capsule runs on a host of the
// contract, by playing cases.
package conformance
