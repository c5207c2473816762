package control

import (
	"encoding/json"
	"time"
)

// Version is the version of the protocol. It goes up only when an old client
// could misunderstand a new server or the other way round.
const Version = 1

// VersionHeader carries [Version] in every request of a Client and in every
// response.
const VersionHeader = "Astrid-Control-Version"

// The media types of /v1/events.
const (
	TypeNDJSON = "application/x-ndjson"                  // one event's JSON a line
	TypeFrames = "application/vnd.astrid.ledger.events"  // see frame.go
	TypeNewest = "application/vnd.astrid.ledger.segment" // of /v1/ledger/newest
)

// The trailers of /v1/ledger/newest. They come after the bytes, because the
// copy is streamed while it is read.
const (
	TrailerFirst  = "Astrid-First-Seq" // decimal
	TrailerLast   = "Astrid-Last-Seq"  // decimal
	TrailerSHA256 = "Astrid-Sha256"    // hex, of all bytes of the body
)

// Phase is how far a daemon has come.
type Phase string

// The phases, in order.
const (
	PhaseStarting   Phase = "starting"   // the ledger is being opened
	PhaseRecovering Phase = "recovering" // ledger and disk are being matched; no spawn yet
	PhaseReady      Phase = "ready"
	PhaseRestarting Phase = "restarting" // calls may end; then another daemon takes over
	PhaseStopping   Phase = "stopping"   // an orderly shutdown runs

	// PhaseDamaged comes instead of recovering where the ledger cannot be
	// opened: what runs can be listed and ended, nothing else.
	PhaseDamaged Phase = "damaged"
)

// Status is the answer of /v1/status.
type Status struct {
	Version string    `json:"version"` // of the daemon's build
	API     int       `json:"api"`     // protocol version, see Version
	PID     int       `json:"pid"`
	UID     int       `json:"uid"`
	Started time.Time `json:"started"` // when this daemon started
	Phase   Phase     `json:"phase"`

	// Problems are sentences for people about what does not work as
	// configured: no namespaces, a capsule that does not load, a ledger that
	// cannot commit. Empty when all is well.
	Problems []string `json:"problems"`

	Data      string       `json:"data"` // data directory
	Socket    string       `json:"socket"`
	Config    string       `json:"config"` // path of the config file, empty if none
	Isolation Isolation    `json:"isolation"`
	Ledger    LedgerStatus `json:"ledger"`
	Recovery  *Recovery    `json:"recovery,omitempty"` // nil until recovery has finished
	Progress  *Progress    `json:"progress,omitempty"` // of the recovery; nil but while it goes on
	Restart   *Restart     `json:"restart,omitempty"`  // nil unless this daemon took over from another one
	Live      int          `json:"live"`               // processes that hold a slot
	Retained  int          `json:"retained"`           // terminal handles not yet released
	Usage     []Usage      `json:"usage"`              // principals and capsules that have processes, by scope
	Capsules  int          `json:"capsules"`           // loaded
}

// Isolation tells what programs run in.
type Isolation struct {
	Mode      string `json:"mode"`              // configured: "pidns" or "none"
	Available bool   `json:"available"`         // false: every spawn is refused
	Reason    string `json:"reason,omitempty"`  // why not available, for people
	Applied   string `json:"applied,omitempty"` // what exactly it is here: "pidns", "userns+pidns", "none"
	Userns    bool   `json:"userns"`            // a user namespace is used (the daemon is not root)
}

// LedgerStatus tells how the ledger stands.
type LedgerStatus struct {
	ID    string `json:"id"`
	First uint64 `json:"first_seq"` // 0 when empty
	Last  uint64 `json:"last_seq"`

	// Failed is why nothing can be committed just now; empty: all is well.
	Failed string `json:"failed,omitempty"`

	// State is "ok"; "full" where nothing starts and endings are recorded as
	// long as the reserve lasts; "failed" where nothing can be recorded, but
	// what runs can be ended; LedgerDamaged. Empty before the ledger is open.
	State  string     `json:"state,omitempty"`
	Since  *time.Time `json:"since,omitempty"`  // when that state was first seen; not with "ok"
	Error  string     `json:"error,omitempty"`  // what the system said
	Remedy string     `json:"remedy,omitempty"` // what to do, one sentence
}

// LedgerDamaged is the state of a ledger that cannot be opened, or has lost
// events: a person has to see to it.
const LedgerDamaged = "damaged"

// Recovery is what the matching of ledger and disk at the start found.
type Recovery struct {
	Adopted uint32 `json:"adopted"` // living processes held again
	Exited  uint32 `json:"exited"`  // processes that ended meanwhile, with a true exit
	Lost    uint32 `json:"lost"`    // processes proven dead whose exit is unknown
	Aborted uint32 `json:"aborted"` // granted spawns of which nothing ran
	Failed  uint32 `json:"failed"`  // granted spawns that could not be started
	Ended   uint32 `json:"ended"`   // living ephemeral processes cancelled as owner-lost
	Orphans uint32 `json:"orphans"` // shims and directories unknown to the ledger or terminal in it, ended
	Resumed uint32 `json:"resumed"` // unfinished cancels, stops and timers taken up again

	TookNano int64 `json:"took_ns"` // from recovery.started to recovery.finished, ns

	LostReboot      uint32 `json:"lost_reboot"`       // of those lost: by a restart of the machine
	LostMaybe       uint32 `json:"lost_maybe"`        // of those lost: of which nothing tells whether they ran
	LostNoDirectory uint32 `json:"lost_no_directory"` // of those lost: whose process directory is gone, too
	Released        uint32 `json:"released"`          // ended before, and released now
	Retained        uint32 `json:"retained"`          // ended before, and kept for their creators
	Pending         uint32 `json:"pending"`           // not at their end when it finished
	Silent          uint32 `json:"silent"`            // of those pending: whose shim had not answered
	Damaged         uint32 `json:"damaged"`           // process directories with records that cannot be read
	Trash           uint32 `json:"trash"`             // deletions that were finished
	Foreign         uint32 `json:"foreign"`           // programs that this ledger cannot have decided on
	Missing         uint32 `json:"missing"`           // handles whose process directory is gone
	Unsent          uint32 `json:"unsent"`            // signals ordered of which nobody knows whether they arrived

	// Settling is how many of what it found are being ended or waited for
	// still; 0 where no daemon answers.
	Settling uint32 `json:"settling"`
}

// Progress is how far the recovery has come that goes on.
type Progress struct {
	Matched uint32 `json:"matched"` // handles and directories of which the ledger holds what becomes of them
	Total   uint32 `json:"total"`
}

// Usage is how many live processes one scope has.
type Usage struct {
	Scope      string `json:"scope"` // "principal:alice" or "capsule:builder"
	Background uint32 `json:"background"`
	Sync       uint32 `json:"sync"`
	Persistent uint32 `json:"persistent"`

	// Cap is the most of Background+Persistent; SyncCap the most of Sync, 0
	// where there is no such cap (capsules).
	Cap     uint32 `json:"cap"`
	SyncCap uint32 `json:"sync_cap,omitempty"`
}

// Ps is the answer of /v1/ps.
type Ps struct {
	// Seq is the last event the table includes.
	Seq uint64 `json:"seq"`

	// Source is what the table was made from: empty for the ledger.
	Source  Source   `json:"source,omitempty"`
	Handles []Handle `json:"handles"` // by id, which is by age
}

// Source is where a table comes from.
type Source string

// FromDirectories: the ledger is damaged, and the directories of the processes
// are all there is. They tell of no principal, capsule or tier, and of a command
// only the executable.
const FromDirectories Source = "directories"

// Handle is one process handle.
type Handle struct {
	ID        string     `json:"id"` // ULID
	Principal string     `json:"principal"`
	Capsule   string     `json:"capsule"`
	Instance  string     `json:"instance"`
	CallID    string     `json:"call_id,omitempty"`
	Tier      string     `json:"tier"`  // "sync", "background", "persistent"
	Phase     string     `json:"phase"` // "decided", "started", "exited", "aborted", "failed", "lost"
	Command   string     `json:"command"`
	Label     string     `json:"label,omitempty"`
	Cwd       string     `json:"cwd"`
	Isolation string     `json:"isolation"`
	PID       uint32     `json:"pid,omitempty"` // of the program, host namespace; 0 before its start
	Requested *time.Time `json:"requested,omitempty"`
	Started   *time.Time `json:"started,omitempty"`
	Ended     *time.Time `json:"ended,omitempty"`
	Exit      *Exit      `json:"exit,omitempty"`
	Cause     string     `json:"cause,omitempty"`  // what ended it, see event.ProcessExited
	Ending    string     `json:"ending,omitempty"` // why it is being ended: "cancel", "stop", …; empty if it is not
	LastSeq   uint64     `json:"last_seq"`

	// Attached is how often a guest has attached to it, Watch the suffix under
	// which it is watched ("" for its id), nil if it is not.
	Attached uint32  `json:"attached,omitempty"`
	Watch    *string `json:"watch,omitempty"`

	// Stdin is "open" or "closed" for a process whose input was to stay open,
	// empty for others.
	Stdin string `json:"stdin,omitempty"`

	// Overflow is what happens when a ring is full, empty for the default.
	Overflow string `json:"overflow,omitempty"`

	// The granted times, ns, 0 where there is none: how long it may run, how
	// long it may go untouched, how long it is kept after its end.
	LifetimeNano    int64 `json:"lifetime_ns,omitempty"`
	IdleTimeoutNano int64 `json:"idle_timeout_ns,omitempty"`
	RetentionNano   int64 `json:"retention_ns,omitempty"`

	// IdleNano is how long nobody has touched it, ns; nil where it is not
	// known: not from files, and not of a process that is not persistent.
	IdleNano *int64 `json:"idle_ns,omitempty"`

	// Trouble is what keeps a live process from being served or ended, empty
	// for nothing; see the values of Trouble.
	Trouble Trouble `json:"trouble,omitempty"`

	// Unrecorded is true while the process has ended and the ledger cannot
	// commit the exit yet.
	Unrecorded bool `json:"unrecorded,omitempty"`
}

// Trouble is what is wrong with a live process.
type Trouble string

// The troubles.
const (
	// TroubleSilent: its shim is stopped and does not answer. It is ended all
	// the same by whoever asks for that.
	TroubleSilent Trouble = "silent"

	// TroubleDying: it was sent KILL and is not dead yet: it is in
	// uninterruptible sleep. It stays counted until it is proven dead.
	TroubleDying Trouble = "dying"
)

// Exit is how a program ended: exactly one field is set.
type Exit struct {
	Code   *int32 `json:"code,omitempty"`
	Signal *int32 `json:"signal,omitempty"`
}

// Capsules is the answer of /v1/capsules.
type Capsules struct {
	Capsules []Capsule `json:"capsules"` // by name
}

// Capsule is one capsule of the capsules directory.
type Capsule struct {
	Name            string   `json:"name"`
	Version         string   `json:"version"`
	Loaded          bool     `json:"loaded"`
	Problem         string   `json:"problem,omitempty"` // why it is not loaded
	ModuleSHA256    string   `json:"module_sha256,omitempty"`
	ManifestSHA256  string   `json:"manifest_sha256,omitempty"`
	HostProcess     []string `json:"host_process"` // commands that its gate admits
	AllowPersistent bool     `json:"allow_persistent"`
	Actions         []string `json:"actions,omitempty"` // handlers its manifest names
}

// Invocation is the body of /v1/invoke.
type Invocation struct {
	Principal string `json:"principal"`
	Capsule   string `json:"capsule"`
	Action    string `json:"action"`

	// Payload is any JSON value; it reaches the guest as its bytes.
	Payload json.RawMessage `json:"payload,omitempty"`

	// CallID groups what the invocation causes; empty: the daemon makes one.
	CallID string `json:"call_id,omitempty"`
}

// Answer is what /v1/invoke answers. It is sent only after the event that
// records the end of the invocation is durable.
type Answer struct {
	CallID   string `json:"call_id"`
	Instance string `json:"instance"`

	// Outcome is "ok"; or "cancelled" or "deadline" if the guest was asked to
	// end early and answered all the same.
	Outcome string  `json:"outcome"`
	Action  string  `json:"action"`         // what the guest returned: "continue", "final", "deny", "abort", …
	Data    *string `json:"data,omitempty"` // the guest's data, nil if it gave none

	// Results are what the guest published during the call as results of the
	// action: for a tool {"type": "tool_execute_result", …}.
	Results []json.RawMessage `json:"results,omitempty"`

	TookNano int64 `json:"took_ns"` // from the request to the guest's answer, ns
}

// Backup is the body of /v1/ledger/backed-up: a copy of the ledger that was made
// through the daemon and found sound.
type Backup struct {
	Directory      string `json:"directory"`
	Through        uint64 `json:"through"` // its last event
	Segments       uint32 `json:"segments"`
	Bytes          uint64 `json:"bytes"`
	ManifestSHA256 string `json:"manifest_sha256"` // hex
}

// BackupAnswer is what /v1/ledger/backed-up answers, once that is recorded.
type BackupAnswer struct {
	Seq uint64 `json:"seq"` // of the event
}

// CancelRequest is the body of /v1/cancel.
type CancelRequest struct {
	Principal string `json:"principal"` // required
	Capsule   string `json:"capsule"`   // empty: all capsules of the principal

	// CallIDs name the invocations whose processes are to end; empty: all of
	// the scope.
	CallIDs []string `json:"call_ids,omitempty"`
	Reason  string   `json:"reason,omitempty"`
}

// CancelAnswer is what /v1/cancel answers, once the cancel is durable.
type CancelAnswer struct {
	Cancel  string   `json:"cancel"`  // ULID of the cancel
	Handles []string `json:"handles"` // the live handles it reaches

	// Unrecorded is true if the ledger could not commit: the processes are
	// being ended all the same, and that is recorded as soon as it can be.
	Unrecorded bool `json:"unrecorded,omitempty"`

	// Waiting is how many invocations were still waiting for their turn and
	// were sent away; they ran nothing.
	Waiting int `json:"waiting,omitempty"`
}
