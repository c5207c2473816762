package host

import (
	"slices"
	"strings"
)

// The bounds of a request. Those marked as ours are bounds that the contract
// leaves to the host; the others are the contract's numbers. Those that are
// exported keep the guest binding from copying what is beyond them.
const (
	MaxCommandBytes  = 4 << 10 // ours
	MaxArgs          = 4096    // ours
	MaxArgsBytes     = 1 << 20 // ours: all arguments together
	MaxStdinBytes    = 4 << 20 // prelude of a spawn
	MaxEnvEntries    = 256
	MaxEnvValueBytes = 64 << 10 // bytes of one value
	maxEnvKeys       = 24 << 10 // ours: all keys together, so that one event can name them
)

// reservedEnv are the variables that a guest may not set: they change which
// code a program loads before it does what it is for. LD_* and DYLD_* are
// reserved too.
var reservedEnv = []string{
	"PATH", "ASTRID_SESSION_TOKEN", "BASH_ENV", "ENV", "GCONV_PATH", "NODE_OPTIONS", "PERL5OPT",
	"PYTHONHOME", "PYTHONPATH", "RUBYOPT", "ZDOTDIR",
}

// passedEnv are the variables that a program gets from the daemon's own
// environment, where they are set there and not by the guest.
var passedEnv = []string{"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ"}

// validate checks everything about a request that needs no look at the disk,
// in the order of the request's fields.
func validate(r *Request) *Error {
	if r.Unread != nil {
		return r.Unread.Refusal
	}
	if err := validCommand(r.Cmd); err != nil {
		return err
	}
	if err := validArgs(r.Args); err != nil {
		return err
	}
	if len(r.Stdin) > MaxStdinBytes {
		return errorf(TooLarge, "stdin has %d bytes, at most %d are taken", len(r.Stdin), MaxStdinBytes)
	}
	if err := validEnv(r.Env); err != nil {
		return err
	}
	if err := validFiles(r.Files, r.Env); err != nil {
		return err
	}
	if r.Limits != nil && (r.Limits.CPUSeconds != nil || r.Limits.MemoryBytes != nil || r.Limits.OpenFiles != nil || r.Limits.PIDs != nil) {
		return errorf(Unknown, "resource limits cannot be enforced here, and are never ignored: ask for none")
	}
	return nil
}

// validCommand repeats what the gate holds, for a policy that admits more.
func validCommand(cmd string) *Error {
	switch {
	case cmd == "":
		return errorf(InvalidInput, "the command is empty")
	case len(cmd) > MaxCommandBytes:
		return errorf(InvalidInput, "the command has %d bytes, at most %d are taken", len(cmd), MaxCommandBytes)
	case strings.HasPrefix(cmd, "-"):
		return errorf(InvalidInput, "the command looks like a flag")
	case hasNUL(cmd):
		return errorf(InvalidInput, "the command contains NUL")
	}
	return nil
}

func validArgs(args []string) *Error {
	if len(args) > MaxArgs {
		return errorf(InvalidInput, "%d arguments, at most %d are taken", len(args), MaxArgs)
	}
	total := 0
	for i, a := range args {
		if hasNUL(a) {
			return errorf(InvalidInput, "argument %d contains NUL", i+1)
		}
		total += len(a)
	}
	if total > MaxArgsBytes {
		return errorf(InvalidInput, "the arguments have %d bytes together, at most %d are taken", total, MaxArgsBytes)
	}
	return nil
}

func validEnv(env []EnvVar) *Error {
	if len(env) > MaxEnvEntries {
		return errorf(TooLarge, "%d variables, at most %d are taken", len(env), MaxEnvEntries)
	}
	seen := make(map[string]bool, len(env))
	keys := 0
	for _, v := range env {
		if err := validVar(v); err != nil {
			return err
		}
		if seen[v.Key] {
			return errorf(InvalidInput, "variable %s is set twice", v.Key)
		}
		seen[v.Key] = true
		keys += len(v.Key)
	}
	if keys > maxEnvKeys {
		return errorf(TooLarge, "the names of the variables have %d bytes together, at most %d are taken", keys, maxEnvKeys)
	}
	return nil
}

func validVar(v EnvVar) *Error {
	switch {
	case !validKey(v.Key):
		return errorf(InvalidInput, "variable name %.64q is not of the form [A-Za-z_][A-Za-z0-9_]*", v.Key)
	case reserved(v.Key):
		return errorf(InvalidInput, "variable %s is reserved", v.Key)
	case len(v.Value) > MaxEnvValueBytes:
		return errorf(TooLarge, "variable %s has %d bytes, at most %d are taken", v.Key, len(v.Value), MaxEnvValueBytes)
	case hasNUL(v.Value):
		return errorf(InvalidInput, "variable %s contains NUL", v.Key)
	}
	return nil
}

func validKey(k string) bool {
	for i := range len(k) {
		c := k[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return k != ""
}

func reserved(k string) bool {
	return slices.Contains(reservedEnv, k) || strings.HasPrefix(k, "LD_") || strings.HasPrefix(k, "DYLD_")
}

func hasNUL(s string) bool { return strings.IndexByte(s, 0) >= 0 }

// environ is the program's whole environment but for the places of its files,
// which whoever lays them adds: what is passed through from the daemon, unless
// the guest sets it, then the guest's own.
func environ(lookup func(string) (string, bool), env []EnvVar, files []FileInjection) []string {
	out := make([]string, 0, len(passedEnv)+len(env)+len(files))
	for _, k := range passedEnv {
		value, set := lookup(k)
		named := slices.ContainsFunc(env, func(v EnvVar) bool { return v.Key == k }) ||
			slices.ContainsFunc(files, func(f FileInjection) bool { return f.EnvKey != nil && *f.EnvKey == k })
		if set && !named {
			out = append(out, k+"="+value)
		}
	}
	for _, v := range env {
		out = append(out, v.Key+"="+v.Value)
	}
	return out
}
