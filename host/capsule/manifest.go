package capsule

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// ManifestName is the file that makes a directory a capsule.
const ManifestName = "Capsule.toml"

// Manifest is what a Capsule.toml says, as far as this host acts on it.
type Manifest struct {
	Name        string // the capsule's name: [a-z0-9-]
	Version     string
	Description string

	// File is the module, relative to the capsule's directory.
	File string

	// HostProcess are the commands that the capsule may run, each exactly as
	// a spawn names it. Empty: none.
	HostProcess []string

	// AllowPersistent tells whether it may also start processes that outlive
	// its instance.
	AllowPersistent bool

	// Capabilities are the names of all that it may, sorted: the keys of
	// [capabilities] that say something other than no.
	Capabilities []string

	// Env are the defaults of what may be configured, by key.
	Env map[string]any

	// Handlers are the actions that it answers, sorted by topic.
	Handlers []Handler

	// Warnings are what was found and is not acted on.
	Warnings []string
}

// Handler is a topic that the capsule subscribes to with an action.
type Handler struct {
	Topic, Action string
}

// Handles tells whether the capsule has a handler of that name.
func (m *Manifest) Handles(action string) bool {
	return slices.ContainsFunc(m.Handlers, func(h Handler) bool { return h.Action == action })
}

// document is the part of a Capsule.toml that is read. Tables that only other
// parts of Astrid OS act on are named in elsewhere.
type document struct {
	Package struct {
		Name        string `toml:"name"`
		Version     string `toml:"version"`
		Description string `toml:"description"`
	} `toml:"package"`
	Components   []component             `toml:"component"`
	Capabilities capabilities            `toml:"capabilities"`
	Subscribe    map[string]subscription `toml:"subscribe"`
	Env          map[string]variable     `toml:"env"`
}

// variable is an entry of [env].
type variable struct {
	Default any `toml:"default"`
}

type component struct {
	ID           string       `toml:"id"`
	File         string       `toml:"file"`
	Entrypoint   string       `toml:"entrypoint"` // an older spelling of file
	Type         string       `toml:"type"`
	Capabilities capabilities `toml:"capabilities"`
}

type capabilities struct {
	HostProcess     []string `toml:"host_process"`
	AllowPersistent bool     `toml:"allow_persistent"`
}

// subscription is an entry of [subscribe]: a bare type reference, or a table.
type subscription struct{ handler string }

// UnmarshalTOML implements the two spellings.
func (s *subscription) UnmarshalTOML(v any) error {
	switch v := v.(type) {
	case string:
		return nil
	case map[string]any:
		handler, set := v["handler"]
		if !set {
			return nil
		}
		name, ok := handler.(string)
		if !ok || name == "" {
			return errors.New("handler: not the name of a handler")
		}
		s.handler = name
		return nil
	default:
		return errors.New("neither a type reference nor a table")
	}
}

// elsewhere are keys of the format that this host does not act on and need not
// warn of: they stand for what other parts of Astrid OS do.
var elsewhere = []string{
	"package", "component", "imports", "exports", "publish", "subscribe", "tool", "env", "context_file",
	"command", "mcp_server", "skill", "uplink", "capabilities.uplink", "capabilities.net", "capabilities.kv",
	"capabilities.fs_read", "capabilities.fs_write", "capabilities.net_bind", "capabilities.bind_workers",
	"capabilities.net_connect", "capabilities.identity", "capabilities.allow_prompt_injection",
}

// ParseManifest reads a Capsule.toml. Keys it does not know are warnings, since
// the format grows; a value of the wrong type is an error with its line.
func ParseManifest(text string) (*Manifest, error) {
	var d document
	meta, err := toml.Decode(text, &d)
	if err != nil {
		return nil, tomlError(err)
	}
	m := &Manifest{Name: d.Package.Name, Version: d.Package.Version, Description: d.Package.Description}
	if err := validName(m.Name); err != nil {
		return nil, fmt.Errorf("package.name: %w", err)
	}
	if m.Version == "" {
		return nil, errors.New("package.version: missing")
	}
	if err := m.component(d.Components); err != nil {
		return nil, err
	}
	m.grant(d)
	m.Capabilities = capabilityNames(text)
	for key, v := range d.Env {
		if v.Default != nil {
			if m.Env == nil {
				m.Env = map[string]any{}
			}
			m.Env[key] = v.Default
		}
	}
	for topic, s := range d.Subscribe {
		if s.handler != "" {
			m.Handlers = append(m.Handlers, Handler{Topic: topic, Action: s.handler})
		}
	}
	slices.SortFunc(m.Handlers, func(a, b Handler) int { return strings.Compare(a.Topic, b.Topic) })
	m.warn(meta)
	return m, nil
}

// component takes the module's file from the first component, which is the one
// that Astrid OS runs.
func (m *Manifest) component(all []component) error {
	if len(all) == 0 {
		return errors.New(`[[component]]: missing; add one with file = "NAME.wasm"`)
	}
	if len(all) > 1 {
		m.Warnings = append(m.Warnings, fmt.Sprintf("%d components; only the first is run", len(all)))
	}
	m.File = all[0].File
	if m.File == "" {
		m.File = all[0].Entrypoint
	}
	if !filepath.IsLocal(m.File) {
		return fmt.Errorf("component.file: %q is not a path inside the capsule's directory", m.File)
	}
	return nil
}

// grant unites the capabilities of the capsule and of its components.
func (m *Manifest) grant(d document) {
	all := []capabilities{d.Capabilities}
	for _, c := range d.Components {
		all = append(all, c.Capabilities)
	}
	for _, c := range all {
		for _, command := range c.HostProcess {
			if !slices.Contains(m.HostProcess, command) {
				m.HostProcess = append(m.HostProcess, command)
			}
		}
		m.AllowPersistent = m.AllowPersistent || c.AllowPersistent
	}
}

// capabilityNames lists what the capsule and its components are granted, also
// what other parts of Astrid OS grant. The text has been read once already.
func capabilityNames(text string) (names []string) {
	var d struct {
		Capabilities map[string]any
		Component    []struct{ Capabilities map[string]any }
	}
	if _, err := toml.Decode(text, &d); err != nil {
		return nil
	}
	tables := []map[string]any{d.Capabilities}
	for _, c := range d.Component {
		tables = append(tables, c.Capabilities)
	}
	for _, table := range tables {
		for name, value := range table {
			if list, isList := value.([]any); value != false && (!isList || len(list) > 0) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// warn lists the keys that nobody knows.
func (m *Manifest) warn(meta toml.MetaData) {
	for _, key := range meta.Undecoded() {
		k := key.String()
		known := slices.ContainsFunc(elsewhere, func(e string) bool { return k == e || strings.HasPrefix(k, e+".") })
		if known && !strings.HasSuffix(k, ".handler") {
			continue
		}
		if k == "interceptor" || strings.HasPrefix(k, "interceptor.") {
			k = "interceptor (write its handler into [subscribe])"
		}
		if w := "unknown key " + k; !slices.Contains(m.Warnings, w) {
			m.Warnings = append(m.Warnings, w)
		}
	}
}

// maxName bounds a capsule's name: it is a directory, and stands in each event.
const maxName = 64

func validName(name string) error {
	ok := name != "" && len(name) <= maxName && strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	}) < 0
	if !ok {
		return fmt.Errorf("%q is not a name: 1 to %d of a-z, 0-9 and -", name, maxName)
	}
	return nil
}

// tomlError puts the line first, as compilers do. The decoder has it in a field
// for some errors, and in the text of the others.
func tomlError(err error) error {
	var p toml.ParseError
	switch {
	case !errors.As(err, &p):
		return errors.New(strings.TrimPrefix(err.Error(), "toml: "))
	case p.LastKey != "":
		return fmt.Errorf("line %d: %s: %s", p.Position.Line, p.LastKey, p.Message)
	}
	return fmt.Errorf("line %d: %s", p.Position.Line, p.Message)
}
