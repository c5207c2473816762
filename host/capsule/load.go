package capsule

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/astrid-os/processledger/host/bind"
)

// Bounds of what is read from a capsule's directory, in bytes.
const (
	maxManifest = 1 << 20
	maxModule   = 256 << 20
)

// DefaultMemory is the most bytes of memory of one instance, if the options
// name no other. A guest in Go that handles two full streams of output (8 MiB
// each) needs about half of it.
const DefaultMemory = 128 << 20

const page = 64 << 10 // bytes of a page of WebAssembly memory

// LoadOptions says where capsules are and what they may take.
type LoadOptions struct {
	// Dir holds a directory for each capsule. Required.
	Dir string

	// Cache is a directory for compiled modules, made if missing; whoever can
	// write to it can run code in this process. Empty: compile each time,
	// which takes seconds for a large module.
	Cache string

	// MemoryBytes is the most memory an instance may have, in bytes, rounded
	// down to pages of 64 KiB; 0 means DefaultMemory.
	MemoryBytes uint64

	// Log gets warnings; nil means nowhere.
	Log *slog.Logger
}

// Set is the capsules of a directory, compiled and ready to be run.
type Set struct {
	runtime wazero.Runtime
	cache   wazero.CompilationCache
	loaded  map[string]*Capsule
	failed  []*LoadError
}

// Capsule is one loaded capsule.
type Capsule struct {
	Manifest

	// Dir is its directory.
	Dir string

	ManifestText   string // as read
	ManifestSHA256 []byte
	ModuleSHA256   []byte
	ModuleBytes    uint64

	// Forms are the ways in which it can be called.
	Forms Forms

	module wazero.CompiledModule
}

// LoadError tells why one capsule was not loaded.
type LoadError struct {
	Dir string // the capsule's directory
	Err error
}

// Error reads like "capsule DIR: Capsule.toml: line 3: …".
func (e *LoadError) Error() string { return "capsule " + e.Dir + ": " + e.Err.Error() }

// Unwrap returns the reason.
func (e *LoadError) Unwrap() error { return e.Err }

// Load reads and compiles every capsule below o.Dir. One that cannot be loaded
// is in Failed and keeps no other from loading. The error is for what concerns
// all: the directory or the cache. Close the Set.
func Load(ctx context.Context, o LoadOptions) (*Set, error) {
	s, err := newSet(ctx, o)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(o.Dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read capsules: %w", err), s.Close(ctx))
	}
	for _, e := range entries {
		dir := filepath.Join(o.Dir, e.Name())
		if !holdsCapsule(dir) {
			continue
		}
		if err := s.add(ctx, dir); err != nil {
			if ctx.Err() != nil {
				return nil, errors.Join(ctx.Err(), s.Close(context.WithoutCancel(ctx)))
			}
			s.failed = append(s.failed, &LoadError{Dir: dir, Err: err})
		}
	}
	if o.Log != nil {
		s.report(o.Log)
	}
	return s, nil
}

// holdsCapsule tells whether dir is a directory, or a symlink to one, that
// claims to be a capsule.
func holdsCapsule(dir string) bool {
	i, err := os.Stat(dir)
	if err != nil || !i.IsDir() {
		return false
	}
	_, err = os.Lstat(filepath.Join(dir, ManifestName))
	return err == nil
}

// newSet makes the runtime with everything that guests may import.
func newSet(ctx context.Context, o LoadOptions) (*Set, error) {
	s := &Set{loaded: map[string]*Capsule{}}
	memory := o.MemoryBytes
	if memory == 0 {
		memory = DefaultMemory
	}
	// Interruption is what keeps a guest that loops from taking the daemon
	// with it; the compiler is the faster of the engines even so.
	config := wazero.NewRuntimeConfig().
		WithCoreFeatures(api.CoreFeaturesV2).
		WithCloseOnContextDone(true).
		WithMemoryLimitPages(uint32(min(memory/page, 65536)))
	if o.Cache != "" {
		if err := os.MkdirAll(o.Cache, 0o700); err != nil {
			return nil, fmt.Errorf("cache of compiled modules: %w", err)
		}
		cache, err := wazero.NewCompilationCacheWithDir(o.Cache)
		if err != nil {
			return nil, fmt.Errorf("cache of compiled modules: %w", err)
		}
		s.cache = cache
		config = config.WithCompilationCache(cache)
	}
	s.runtime = wazero.NewRuntimeWithConfig(ctx, config)
	_, err := wasi_snapshot_preview1.Instantiate(ctx, s.runtime)
	if err == nil {
		err = bind.Instantiate(ctx, s.runtime)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close(ctx))
	}
	return s, nil
}

// add loads the capsule of one directory.
func (s *Set) add(ctx context.Context, dir string) error {
	c, module, err := read(dir)
	if err != nil {
		return err
	}
	if other := s.loaded[c.Name]; other != nil {
		return fmt.Errorf("%s: the name %q is taken by the capsule in %s", ManifestName, c.Name, other.Dir)
	}
	if filepath.Base(dir) != c.Name {
		c.Warnings = append(c.Warnings, fmt.Sprintf("the directory is called %q", filepath.Base(dir)))
	}
	if err := s.compile(ctx, c, module); err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	s.loaded[c.Name] = c
	return nil
}

// read reads the two files of a capsule. Neither may lie outside its directory,
// by a symlink or otherwise.
func read(dir string) (*Capsule, []byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	text, err := readFile(root, ManifestName, maxManifest)
	if err != nil {
		return nil, nil, err
	}
	m, err := ParseManifest(string(text))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", ManifestName, err)
	}
	module, err := readFile(root, m.File, maxModule)
	if err != nil {
		return nil, nil, fmt.Errorf("component.file: %w", err)
	}
	textSum, moduleSum := sha256.Sum256(text), sha256.Sum256(module)
	return &Capsule{
		Manifest: *m, Dir: dir,
		ManifestText: string(text), ManifestSHA256: textSum[:],
		ModuleSHA256: moduleSum[:], ModuleBytes: uint64(len(module)),
	}, module, nil
}

func readFile(root *os.Root, name string, most int64) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if i, err := f.Stat(); err != nil || !i.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s is not a regular file", name), err)
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s has more than %d bytes", name, most)
	}
	return b, err
}

// compile compiles a module and checks what it imports and exports.
func (s *Set) compile(ctx context.Context, c *Capsule, module []byte) error {
	cm, unserved, err := s.compiled(ctx, module)
	if err != nil {
		return err
	}
	forms, lacking := checkExports(cm)
	if err := errors.Join(unserved, lacking); err != nil {
		return errors.Join(err, cm.Close(ctx))
	}
	if c.Forms = forms; !forms.Hook && len(c.Handlers) > 0 {
		c.Warnings = append(c.Warnings, "it has handlers, but the module exports no "+hookExport)
	}
	c.module = cm
	return nil
}

// compiled compiles a module, or the guest of a component. unserved names
// imports that nobody serves; then the module cannot be instantiated.
func (s *Set) compiled(ctx context.Context, module []byte) (cm wazero.CompiledModule, unserved, err error) {
	if module, err = unwrap(module); err != nil {
		return nil, nil, err
	}
	linked, unserved := bind.Link(s.runtime, module)
	var names *bind.UnservedError
	switch {
	case linked != nil:
		module = linked
	case !errors.As(unserved, &names):
		return nil, nil, unserved // wazero must not see what cannot be read
	}
	if module, err = checkCounts(module); err != nil {
		return nil, nil, err
	}
	if module, err = capTables(module); err != nil {
		return nil, nil, err
	}
	if cm, err = s.runtime.CompileModule(ctx, module); err != nil {
		return nil, nil, fmt.Errorf("is not a valid module: %w", err)
	}
	return cm, unserved, nil
}

// report logs what an operator should know of the load.
func (s *Set) report(log *slog.Logger) {
	for _, c := range s.Capsules() {
		for _, w := range c.Warnings {
			log.Warn("capsule manifest", "capsule", c.Name, "warning", w)
		}
	}
	for _, e := range s.failed {
		log.Error("capsule not loaded", "dir", e.Dir, "error", e.Err)
	}
}

// Capsules returns the loaded capsules by name. They are shared; the caller
// must not change them.
func (s *Set) Capsules() []*Capsule {
	var all []*Capsule
	for _, c := range s.loaded {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *Capsule) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	return all
}

// Failed returns why capsules were not loaded, in the order of their
// directories.
func (s *Set) Failed() []*LoadError { return slices.Clone(s.failed) }

// Close ends what still runs and frees the compiled modules. Close the Runner
// first.
func (s *Set) Close(ctx context.Context) error {
	err := s.runtime.Close(ctx)
	if s.cache != nil {
		err = errors.Join(err, s.cache.Close(ctx))
	}
	return err
}
