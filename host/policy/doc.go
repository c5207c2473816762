// Package policy holds the rules by which the host admits or refuses a spawn:
// the capability gate of the capsules' manifests and the quotas of principals
// and capsules.
//
// It holds rules only: what is used of a quota is counted by the projector,
// and the decision itself is taken in the ledger's committer. Everything here
// is an input of that decision.
package policy
