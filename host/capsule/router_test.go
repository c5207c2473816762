package capsule

import (
	"context"
	"strconv"
	"testing"

	"github.com/astrid-os/processledger/host/ipc"
)

// TestManyNames: however many principals messages name, a capsule is called for
// a bounded number of them at a time, with a bounded number of bytes that wait.
func TestManyNames(t *testing.T) {
	c := &Capsule{Manifest: Manifest{Name: "slow", Handlers: []Handler{{Topic: "x", Action: "go"}}}, Forms: Forms{Hook: true}}
	r := NewRunner(&Set{loaded: map[string]*Capsule{"slow": c}}, nil, RunOptions{Bus: ipc.New(ipc.Options{})})
	r.setUp["slow"] = make(chan struct{}) // its install is never over: nothing is delivered
	rt := r.newRouter(c)
	if n := r.opts.Bus.Listeners("x"); n != 1 {
		t.Fatalf("%d subscriptions before it runs", n)
	}
	put := func(principal string, size int) {
		rt.put(delivery{"go", ipc.Message{Topic: "x", Payload: make([]byte, size), Principal: ipc.Principal{Kind: ipc.Claimed, Name: principal}}})
	}
	for i := range 500 {
		put("p"+strconv.Itoa(i), 1)
	}
	for range 2 * maxRoutedBytes / ipc.MaxPayload {
		for i := range 3 {
			put("p"+strconv.Itoa(i), ipc.MaxPayload)
		}
	}
	rt.mu.Lock()
	queues, bytes, sum := len(rt.queues), rt.bytes, 0
	for _, q := range rt.queues {
		for _, d := range q.waiting {
			sum += len(d.message.Payload)
		}
	}
	rt.mu.Unlock()
	if queues != maxPrincipals || bytes > maxRoutedBytes || bytes < maxRoutedBytes-ipc.MaxPayload || bytes != sum {
		t.Errorf("messages wait for %d principals, %d bytes of them, counted as %d", queues, sum, bytes)
	}
	r.Close(context.Background())
	rt.work.Wait()
	if len(rt.queues) != 0 {
		t.Errorf("%d queues in the end", len(rt.queues))
	}
}
