package capsule

import (
	"github.com/astrid-os/processledger/host/ipc"
)

// heard is what is listened to during a call: the topics on which the guest
// publishes the results of the action.
type heard struct {
	subs      []*ipc.Subscription
	source    string
	principal string
}

// listen starts listening for the results of a job. It never fails: who cannot
// listen hears nothing, and the call is made all the same.
func (r *Runner) listen(in *instance, c *Capsule, j job) *heard {
	h := &heard{source: ipc.SourceID(c.Name), principal: j.Principal}
	if r.opts.Bus == nil || j.export != "" {
		return h
	}
	for _, handler := range c.Handlers {
		if handler.Action != j.Action {
			continue
		}
		topic := resultTopic(handler.Topic)
		if ipc.ValidTopic(topic) != nil {
			continue // a pattern, or a topic that has no room for it
		}
		s, err := r.opts.Bus.Subscribe(in.id+" results", topic)
		if err != nil {
			r.opts.Log.Warn("the results of an invocation are not heard", "capsule", c.Name, "topic", topic, "error", err)
			continue
		}
		h.subs = append(h.subs, s)
	}
	return h
}

// The topic on which tools are asked to describe themselves, and that on which
// they do.
const (
	describeTopic  = "tool.v1.request.describe"
	describedTopic = "tool.v1.response.describe.self"
)

// resultTopic returns on which topic the results of a handler's are published.
func resultTopic(topic string) string {
	if topic == describeTopic {
		return describedTopic
	}
	return topic + ".result"
}

// messages returns what the guest itself has published so far. Its calls run
// one after another, so all of it is of this one.
func (h *heard) messages() (out []ipc.Message) {
	for _, s := range h.subs {
		for _, m := range s.Poll().Messages {
			if m.SourceID == h.source && m.Principal.Kind == ipc.Verified && m.Principal.Name == h.principal {
				out = append(out, m)
			}
		}
	}
	return out
}

func (h *heard) close() {
	for _, s := range h.subs {
		s.Close()
	}
}
