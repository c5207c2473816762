package ipc

import (
	"encoding/json"
	"fmt"

	"github.com/astrid-os/processledger/guest/internal/mem"
)

// Bounds of the contract: bytes of a topic and of a payload, and subscriptions
// of a capsule.
const (
	MaxTopic         = 256
	MaxPayload       = 1 << 20
	MaxSubscriptions = 128
)

// Publish publishes a payload, which is JSON, on a topic. It does not wait for
// anybody to receive it.
func Publish(topic string, payload []byte) error {
	text := string(payload)
	if err := valid(topic, text); err != nil {
		return err
	}
	_, err := call(16, 4, func(ret uint32) { rawPublish(topic, text, ret) })
	return err
}

// PublishAs is Publish on behalf of a principal. Where the capsule may not
// speak for that principal the host answers ErrDenied; otherwise receivers see
// the principal as claimed.
func PublishAs(topic string, payload []byte, principal string) error {
	text := string(payload)
	if err := valid(topic, text, principal); err != nil {
		return err
	}
	_, err := call(16, 4, func(ret uint32) { rawPublishAs(topic, text, principal, ret) })
	return err
}

// PublishJSON publishes v as json.Marshal writes it.
func PublishJSON(topic string, v any) error {
	payload, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("ipc: payload for %s: %w", topic, err)
	}
	return Publish(topic, payload)
}

// Binding is one of the capsule's handlers as the manifest's [subscribe] binds
// it.
type Binding struct {
	HandleID uint64
	Action   string
	Topic    string
}

// Bindings returns the capsule's handlers and their topics.
func Bindings() ([]Binding, error) {
	v, err := call(16, 4, rawBindings)
	if err != nil {
		return nil, err
	}
	return liftBindings(v), nil
}

func liftBindings(v mem.View) []Binding {
	var all []Binding
	for _, e := range v.List(4, 24) {
		all = append(all, Binding{HandleID: e.U64(0), Action: e.Text(8), Topic: e.Text(16)})
	}
	return all
}
