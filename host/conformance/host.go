package conformance

import (
	"context"
	"fmt"
	"strconv"
)

// Host is a process host that is put to the test. Its methods may be called
// concurrently, but for Start, Restart and Close.
type Host interface {
	// Start opens a host of its own: no process, no event, nothing of an
	// earlier one.
	Start(ctx context.Context, s Setup) error

	// Invoke calls the hook action "run" of a capsule and blocks until it has
	// answered. The error is for a call that could not be made; a guest that
	// did not answer is an Answer too.
	Invoke(ctx context.Context, c Call) (Answer, error)

	// Cancel cancels the calls of a principal and a capsule that have this
	// call id, as a cancelled tool does.
	Cancel(ctx context.Context, principal, capsule, callID string) error

	// Retire ends all processes of a principal and blocks until they have
	// ended.
	Retire(ctx context.Context, principal string) error

	// Running tells how many processes of a principal live, of every tier.
	Running(ctx context.Context, principal string) (int, error)

	// Restart ends the host as a SIGKILL does, and starts it again.
	Restart(ctx context.Context) error

	// Close ends the host and its processes. The error tells what it left
	// behind, if the host can tell.
	Close() error
}

// Granter is a host that can tell what it granted, as no guest can see it.
type Granter interface {
	// Granted describes the newest spawn of a principal that was granted:
	// "lifetime=DURATION idle=DURATION
	// retention=DURATION ring=BYTES overflow=POLICY keep-stdin-open=BOOL", and
	// " grace=DURATION" if it was told to stop.
	Granted(ctx context.Context, principal string) (string, error)
}

// Setup is what a host is started with.
type Setup struct {
	Capsules []Capsule `json:"capsules"`
	Profiles []Profile `json:"profiles,omitempty"`
}

// Capsule is a module with its manifest.
type Capsule struct {
	Name     string `json:"name"`
	Manifest string `json:"manifest"` // the text of its Capsule.toml
	Module   string `json:"module"`   // the path of the file that component.file names
}

// Profile is what a principal may use at once; nil is the default.
type Profile struct {
	Principal      string  `json:"principal"`
	MaxBackground  *uint32 `json:"max_background_processes,omitempty"`
	MaxTimeoutSecs *uint32 `json:"max_timeout_secs,omitempty"`
}

// Call is one invocation.
type Call struct {
	Principal string `json:"principal"`
	Capsule   string `json:"capsule"`
	CallID    string `json:"call_id,omitempty"`
	Payload   string `json:"payload"`
}

// Answer is how an invocation ended.
type Answer struct {
	// Outcome is "ok" if the guest returned, "trap" if it trapped, or
	// "given-up" if it was interrupted after a cancel.
	Outcome string `json:"outcome"`

	Data   string `json:"data,omitempty"`   // what the guest answered
	Detail string `json:"detail,omitempty"` // why not, for people
}

func parseProfile(words []string) (p Profile, err error) {
	if len(words) != 3 {
		return p, fmt.Errorf("profile: want PRINCIPAL KEY NUMBER")
	}
	n64, err := strconv.ParseUint(words[2], 10, 32)
	n := uint32(n64)
	p.Principal = words[0]
	switch words[1] {
	case "max_background_processes":
		p.MaxBackground = &n
	case "max_timeout_secs":
		p.MaxTimeoutSecs = &n
	default:
		return p, fmt.Errorf("profile: no key is called %q", words[1])
	}
	return p, err
}
