// Package config reads the configuration file of astridd.
//
// The file is TOML. Nothing in it is guessed: an unknown key, a value of the
// wrong type or out of its range is an error with its line and with what to
// write instead, and all of them are reported at once. astridd.example.toml,
// beside the daemon's main, explains every key.
package config

import (
	"log/slog"
	"path/filepath"
	"time"

	"github.com/astrid-os/processledger/host/policy"
)

// Config is a checked configuration: every field has its value, defaults
// included.
type Config struct {
	// Path is the file, empty if there is none; Text what stood in it, which
	// the ledger records.
	Path, Text string

	Data     string // data directory, absolute
	Socket   string // control socket, absolute
	Capsules string // directory of capsules, absolute
	Shim     string // the astrid-shim program, absolute

	// Isolation is what programs run in: IsolationPIDNS or IsolationNone.
	Isolation string

	// Operators are the uids that may use the control socket beside the
	// daemon's own and root.
	Operators []uint32

	// Deadline is how long one invocation may take.
	Deadline time.Duration

	// Shutdown is how long an orderly shutdown waits for what it ends.
	Shutdown time.Duration

	// SystemPrincipal is who capsules run for when nobody has asked.
	SystemPrincipal string

	// InstanceMemory is how many bytes the memories of all instances have
	// together before idle ones are ended.
	InstanceMemory uint64

	// CapsuleConfig is what capsules may read, by capsule and key.
	CapsuleConfig map[string]map[string]any

	Log    Log
	Ledger Ledger
	Quotas Quotas // of principals that have none of their own

	// PerCapsule caps the live background and persistent processes of one
	// capsule, all principals together.
	PerCapsule uint32

	Principals map[string]Quotas // of those that have their own, by id
}

// The isolations.
const (
	IsolationPIDNS = "pidns" // a PID namespace for each program
	IsolationNone  = "none"  // the weaker mode, only ever by explicit choice
)

// Log says what the daemon logs.
type Log struct {
	Level slog.Level
	JSON  bool // else logfmt
}

// Ledger holds the sizes of segments. Zero: the ledger's own default.
type Ledger struct {
	SegmentEvents uint64
	SegmentBytes  int64
	Reserve       int64 // bytes of free disk kept
}

// Quotas are the caps of one principal.
type Quotas struct {
	Background uint32        // live background and persistent processes, all capsules together
	Sync       uint32        // synchronous spawns at once
	Timeout    time.Duration // of one synchronous spawn
}

// The defaults, and the bounds that the contract or the machine sets; those of
// quotas are the policy's.
const (
	maxSync       = 256
	maxTimeout    = 24 * time.Hour
	maxPerCapsule = 4096

	defaultDeadline = policy.DefaultInvocation
	maxDeadline     = 24 * time.Hour

	// Eight instances of the largest size.
	defaultInstanceMemory = 1 << 30
	leastInstanceMemory   = 1 << 20
	mostInstanceMemory    = 1 << 40

	defaultSystem = "system"

	defaultShutdown = 20 * time.Second
	maxShutdown     = 10 * time.Minute
	maxSocketPath   = 107 // sun_path of Linux holds 108 bytes with its NUL
)

// Defaults returns the configuration that an empty file gives, for a data
// directory (which may be empty here) and the daemon's executable.
func Defaults(data, executable string) *Config {
	c := &Config{
		Isolation:  IsolationPIDNS,
		Deadline:   defaultDeadline,
		Shutdown:   defaultShutdown,
		Log:        Log{Level: slog.LevelInfo},
		Quotas:     Quotas{Background: policy.DefaultBackground, Sync: policy.DefaultSync, Timeout: policy.DefaultMaxTimeout},
		PerCapsule: policy.DefaultPerCapsule,
		Shim:       filepath.Join(filepath.Dir(executable), "astrid-shim"),
		Principals: map[string]Quotas{},

		SystemPrincipal: defaultSystem,
		InstanceMemory:  defaultInstanceMemory,
		CapsuleConfig:   map[string]map[string]any{},
	}
	c.place(data)
	return c
}

// place sets the data directory and what lies in it by default.
func (c *Config) place(data string) {
	c.Data = data
	if data == "" {
		return
	}
	if c.Socket == "" {
		c.Socket = filepath.Join(data, "control.sock")
	}
	if c.Capsules == "" {
		c.Capsules = filepath.Join(data, "capsules")
	}
}

// Of returns the quotas of a principal; one that the file does not name has
// the default ones.
func (c *Config) Of(principal string) Quotas {
	if q, ok := c.Principals[principal]; ok {
		return q
	}
	return c.Quotas
}
