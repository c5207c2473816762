package ipc

// Code is the contract's error-code of astrid:ipc; the numbers are its
// discriminants.
type Code uint8

// The codes, in the contract's order.
const (
	CapabilityDenied Code = iota
	InvalidInput
	Closed
	RateLimited
	Backpressure
	Quota
	Timeout
	Unknown
)

var codeNames = [...]string{"capability-denied", "invalid-input", "closed", "rate-limited", "backpressure", "quota", "timeout", "unknown"}

// String returns the contract's name of the code.
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return "unknown"
}

// Error is every error of this package.
type Error struct {
	Code   Code
	Detail string // for people; the contract has room for it in unknown only
}

// Error reads like "invalid-input: the topic has an empty segment".
func (e *Error) Error() string {
	if e.Detail == "" {
		return e.Code.String()
	}
	return e.Code.String() + ": " + e.Detail
}
