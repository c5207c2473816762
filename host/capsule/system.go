package capsule

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/bind"
	"github.com/astrid-os/processledger/host/ipc"
)

// ReservedPrefix is what keys begin with that are kept for the system: no
// capsule reads them and no configuration sets them.
const ReservedPrefix = "ASTRID_"

// system is what capsules may know of themselves and of one another.
type system struct {
	set    *Set
	config map[string]map[string]any
	log    *slog.Logger
}

var _ bind.System = (*system)(nil)

// Config implements bind.System: the operator's value, or else the default that
// the manifest gives for the key in [env].
func (s *system) Config(c host.Caller, key string) (value string, found bool, err error) {
	if strings.HasPrefix(key, ReservedPrefix) {
		return "", false, &bind.SysError{Code: bind.SysConfigKeyReserved}
	}
	v, ok := s.config[c.Capsule][key]
	if loaded := s.set.loaded[c.Capsule]; !ok && loaded != nil {
		v, ok = loaded.Env[key]
	}
	if !ok {
		return "", false, nil
	}
	if text, isText := v.(string); isText {
		return text, true, nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "", false, fmt.Errorf("configuration of %s: %s: %w", c.Capsule, key, err)
	}
	return string(text), true, nil
}

// SourceID implements bind.System.
func (s *system) SourceID(capsule string) string { return ipc.SourceID(capsule) }

// Allowed implements bind.System.
func (s *system) Allowed(sourceID, capability string) bool {
	for name := range s.set.loaded {
		if ipc.SourceID(name) == sourceID {
			return slices.Contains(s.Capabilities(name), capability)
		}
	}
	return false
}

// Capabilities implements bind.System: the names of those keys of the manifest's
// [capabilities] that grant something.
func (s *system) Capabilities(capsule string) []string {
	if c := s.set.loaded[capsule]; c != nil {
		return slices.Clone(c.Capabilities)
	}
	return nil
}

// SignalReady implements bind.System.
func (s *system) SignalReady(c host.Caller) {
	s.log.Info("a capsule says that it is ready", "capsule", c.Capsule, "principal", c.Principal, "instance", c.Instance)
}

// Bindings implements bind.System: the handlers of the manifest.
func (s *system) Bindings(capsule string) (all []bind.Binding) {
	c := s.set.loaded[capsule]
	if c == nil || !c.Forms.Hook {
		return nil
	}
	for i, h := range c.Handlers {
		all = append(all, bind.Binding{HandleID: uint64(i + 1), Action: h.Action, Topic: h.Topic})
	}
	return all
}
