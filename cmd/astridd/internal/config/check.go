package config

import (
	"fmt"
	"log/slog"
	"maps"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/astrid-os/processledger/host/policy"
)

// check turns a file into a Config and collects what is wrong with it.
type check struct {
	path, text string
	md         *toml.MetaData
	faults     []*Error
}

// fault notes that something is wrong with a key.
func (c *check) fault(key toml.Key, format string, args ...any) {
	c.faults = append(c.faults, &Error{
		File: c.path, Line: lineOf(c.text, key), Key: key.String(), Message: fmt.Sprintf(format, args...),
	})
}

func key(parts ...string) toml.Key { return parts }

// config makes the Config; where a value is wrong the default stands in.
func (c *check) config(f *file, data, executable string) *Config {
	out := Defaults("", executable)
	out.Path, out.Text = c.path, c.text
	c.paths(f, out, data)
	if f.Isolation != nil {
		out.Isolation = c.oneOf(key("isolation"), *f.Isolation, IsolationPIDNS, IsolationNone)
	}
	for _, uid := range f.Operators {
		if uid < 0 || uid > math.MaxUint32-1 {
			c.fault(key("operators"), "%d is no uid; a uid is a number from 0 to %d", uid, uint32(math.MaxUint32-1))
			continue
		}
		out.Operators = append(out.Operators, uint32(uid))
	}
	c.duration(key("invocation_deadline"), f.InvocationDeadline, &out.Deadline, time.Second, maxDeadline)
	c.duration(key("shutdown_timeout"), f.ShutdownTimeout, &out.Shutdown, time.Second, maxShutdown)
	c.guests(f, out)
	c.log(f, out)
	c.ledger(f, out)
	c.quotas(f, out)
	return out
}

// paths settles where things lie.
func (c *check) paths(f *file, out *Config, data string) {
	out.Socket = c.file(key("socket"), f.Socket, "")
	out.Capsules = c.file(key("capsules_dir"), f.Capsules, "")
	out.Shim = c.file(key("shim"), f.Shim, out.Shim)
	fromFile := c.file(key("data_dir"), f.Data, "")
	if data == "" {
		data = fromFile
	}
	if data == "" && len(c.faults) == 0 {
		c.faults = append(c.faults, &Error{File: c.path, Message: `no data directory; set data_dir = "…" in the file or give --data`})
		return
	}
	out.place(data)
	if len(out.Socket) > maxSocketPath {
		c.fault(key("socket"), "the path %s has %d bytes and a unix socket's may have %d at most; set socket to a shorter one",
			out.Socket, len(out.Socket), maxSocketPath)
	}
}

// file makes a path absolute, from the directory of the configuration file.
func (c *check) file(k toml.Key, value *string, def string) string {
	switch {
	case value == nil:
		return def
	case *value == "":
		c.fault(k, "is empty; name a path or leave the key out")
		return def
	case filepath.IsAbs(*value):
		return filepath.Clean(*value)
	}
	return filepath.Join(filepath.Dir(c.path), *value)
}

func (c *check) oneOf(k toml.Key, value string, allowed ...string) string {
	if slices.Contains(allowed, value) {
		return value
	}
	c.fault(k, "%q is not known; use %s", value, orList(allowed))
	return allowed[0]
}

func (c *check) duration(k toml.Key, value *string, into *time.Duration, least, most time.Duration) {
	if value == nil {
		return
	}
	d, err := time.ParseDuration(*value)
	switch {
	case err != nil:
		c.fault(k, "%q is no duration; write for example \"90s\", \"5m\" or \"1h30m\"", *value)
	case d < least || d > most:
		c.fault(k, "%s is out of range; use %s to %s", *value, least, most)
	default:
		*into = d
	}
}

// number checks value's range; false if it is absent or wrong.
func (c *check) number(k toml.Key, value *int64, least, most int64) (int64, bool) {
	if value == nil {
		return 0, false
	}
	if *value < least || *value > most {
		c.fault(k, "%d is out of range; use %d to %d", *value, least, most)
		return 0, false
	}
	return *value, true
}

// guests reads how capsules are run and what they may know.
func (c *check) guests(f *file, out *Config) {
	if f.SystemPrincipal != nil {
		if out.SystemPrincipal = *f.SystemPrincipal; !names.MatchString(out.SystemPrincipal) {
			c.fault(key("system_principal"), "%q is no id of a principal; use 1 to 64 of A-Z, a-z, 0-9, _ and -", out.SystemPrincipal)
		}
	}
	if n, ok := c.number(key("instance_memory_bytes"), f.InstanceMemory, leastInstanceMemory, mostInstanceMemory); ok {
		out.InstanceMemory = uint64(n)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Capsule)) {
		values := f.Capsule[name].Config
		for _, k := range slices.Sorted(maps.Keys(values)) {
			if strings.HasPrefix(k, reservedKeys) {
				c.fault(key("capsule", name, "config", k), "keys that begin with %s are kept for the system; choose another", reservedKeys)
			}
		}
		out.CapsuleConfig[name] = values
	}
}

// reservedKeys is what no key of a capsule's configuration begins with: its
// guests could not read it.
const reservedKeys = "ASTRID_"

func (c *check) log(f *file, out *Config) {
	if f.Log.Level != nil {
		name := c.oneOf(key("log", "level"), *f.Log.Level, "info", "debug", "warn", "error")
		out.Log.Level = map[string]slog.Level{
			"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
		}[name]
	}
	if f.Log.Format != nil {
		out.Log.JSON = c.oneOf(key("log", "format"), *f.Log.Format, "text", "json") == "json"
	}
}

func (c *check) ledger(f *file, out *Config) {
	if n, ok := c.number(key("ledger", "segment_events"), f.Ledger.SegmentEvents, 16, 16<<20); ok {
		out.Ledger.SegmentEvents = uint64(n)
	}
	if n, ok := c.number(key("ledger", "segment_bytes"), f.Ledger.SegmentBytes, 1<<20, 16<<30); ok {
		out.Ledger.SegmentBytes = n
	}
	if n, ok := c.number(key("ledger", "reserve_bytes"), f.Ledger.ReserveBytes, 1<<20, 1<<40); ok {
		out.Ledger.Reserve = n
	}
}

// names are what ids of principals may look like.
var names = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (c *check) quotas(f *file, out *Config) {
	c.caps(key("quotas"), f.Quotas.fileQuotas, &out.Quotas)
	if n, ok := c.number(key("quotas", "max_capsule_processes"), f.Quotas.PerCapsule, 0, maxPerCapsule); ok {
		out.PerCapsule = uint32(n)
	}
	for _, id := range slices.Sorted(maps.Keys(f.Principal)) {
		p, k := f.Principal[id], key("principal", id)
		if !names.MatchString(id) {
			c.fault(k, "is no id of a principal; use 1 to 64 of A-Z, a-z, 0-9, _ and -")
		}
		own := out.Quotas
		c.caps(k, p, &own)
		out.Principals[id] = own
	}
}

// caps reads the quotas of one table over what into holds already.
func (c *check) caps(table toml.Key, q fileQuotas, into *Quotas) {
	if n, ok := c.number(under(table, "max_background_processes"), q.Background, 0, policy.MaxBackground); ok {
		into.Background = uint32(n)
	}
	if n, ok := c.number(under(table, "max_sync_processes"), q.Sync, 0, maxSync); ok {
		into.Sync = uint32(n)
	}
	if n, ok := c.number(under(table, "max_timeout_secs"), q.Timeout, 1, int64(maxTimeout/time.Second)); ok {
		into.Timeout = time.Duration(n) * time.Second
	}
}

// under returns the key of name in a table.
func under(table toml.Key, name string) toml.Key { return append(slices.Clone(table), name) }
