package config

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// file is the TOML file as it stands. Pointers tell a missing key from a zero.
type file struct {
	Data      *string `toml:"data_dir"`
	Socket    *string `toml:"socket"`
	Capsules  *string `toml:"capsules_dir"`
	Shim      *string `toml:"shim"`
	Isolation *string `toml:"isolation"`
	Operators []int64 `toml:"operators"`

	InvocationDeadline *string `toml:"invocation_deadline"`
	ShutdownTimeout    *string `toml:"shutdown_timeout"`

	SystemPrincipal *string `toml:"system_principal"`
	InstanceMemory  *int64  `toml:"instance_memory_bytes"`

	Capsule map[string]struct {
		Config map[string]any `toml:"config"`
	} `toml:"capsule"`

	Log struct {
		Level  *string `toml:"level"`
		Format *string `toml:"format"`
	} `toml:"log"`

	Ledger struct {
		SegmentEvents *int64 `toml:"segment_events"`
		SegmentBytes  *int64 `toml:"segment_bytes"`
		ReserveBytes  *int64 `toml:"reserve_bytes"`
	} `toml:"ledger"`

	Quotas struct {
		fileQuotas
		PerCapsule *int64 `toml:"max_capsule_processes"`
	} `toml:"quotas"`

	Principal map[string]fileQuotas `toml:"principal"`
}

// fileQuotas are the quotas that a principal may have of its own.
type fileQuotas struct {
	Background *int64 `toml:"max_background_processes"`
	Sync       *int64 `toml:"max_sync_processes"`
	Timeout    *int64 `toml:"max_timeout_secs"`
}

// Error is one fault of a configuration file.
type Error struct {
	File    string // empty: there is no file, only flags
	Line    int    // from 1; 0 where no line is to blame
	Key     string // dotted; may be empty
	Message string // what is wrong and what to write
}

// Error returns "file:line: key: message", as editors understand it.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(cmp.Or(e.File, "configuration"))
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": ")
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Message)
	return b.String()
}

// Load reads and checks the file at path; with an empty path there is no file.
// data, if not empty, takes the place of data_dir. executable is the daemon's,
// beside which the shim is looked for. The error joins one [Error] a fault.
func Load(path, data, executable string) (*Config, error) {
	if path == "" {
		return Parse("", "", data, executable)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return Parse(abs, string(text), data, executable)
}

// Parse is Load with the text given. Relative paths in it start from the
// file's directory, data from the current one.
func Parse(path, text, data, executable string) (*Config, error) {
	var f file
	md, err := toml.Decode(text, &f)
	if err != nil {
		return nil, decodeError(path, err)
	}
	c := &check{path: path, text: text, md: &md}
	for _, key := range undecoded(&md) {
		c.fault(key, "is not a key of this file; %s", suggest(key))
	}
	if data != "" {
		if data, err = filepath.Abs(data); err != nil {
			return nil, fmt.Errorf("configuration: %w", err)
		}
	}
	out := c.config(&f, data, executable)
	if len(c.faults) > 0 {
		return nil, joined(c.faults)
	}
	return out, nil
}

// decodeError turns toml's errors into ours.
func decodeError(path string, err error) error {
	var pe toml.ParseError
	if errors.As(err, &pe) {
		return &Error{File: path, Line: pe.Position.Line, Key: pe.LastKey, Message: strings.TrimSuffix(pe.Message, ".")}
	}
	m := mismatch.FindStringSubmatch(err.Error())
	if m == nil {
		return &Error{File: path, Message: err.Error()}
	}
	line, _ := strconv.Atoi(m[1])
	return &Error{File: path, Line: line, Key: m[2], Message: fmt.Sprintf("is of type %s; write one of type %s", typeName(m[3]), typeName(m[4]))}
}

// mismatch is how toml tells of a value of the wrong type: in words only.
var mismatch = regexp.MustCompile(`^toml: line (\d+) \(last key "(.*)"\): incompatible types: TOML value has type (.*); destination has type (.*)$`)

// typeName gives TOML's word for what toml names as Go does.
func typeName(s string) string {
	switch {
	case s == "slice" || strings.HasPrefix(s, "[]"):
		return "array"
	case s == "struct" || strings.HasPrefix(s, "map"):
		return "table"
	case s == "int64":
		return "integer"
	case s == "float64":
		return "float"
	}
	return s
}

// undecoded returns the unknown keys. Of an unknown table only the table
// itself counts, not every key in it.
func undecoded(md *toml.MetaData) []toml.Key {
	var out []toml.Key
	for _, k := range md.Undecoded() {
		inside := false
		for _, o := range out {
			inside = inside || strings.HasPrefix(k.String(), o.String()+".")
		}
		if !inside {
			out = append(out, k)
		}
	}
	return out
}

// joined joins faults in the order of their lines.
func joined(faults []*Error) error {
	slices.SortStableFunc(faults, func(a, b *Error) int { return a.Line - b.Line })
	errs := make([]error, len(faults))
	for i, f := range faults {
		errs[i] = f
	}
	return errors.Join(errs...)
}
