// Package poll waits for what becomes ready, by astrid:io/poll@1.0.0. What can
// be waited for comes from elsewhere: the exit and the output of a process
// (package process), the messages of a subscription (package ipc).
//
//	exit, err := h.SubscribeExit()
//	…
//	defer exit.Drop()
//	messages, err := sub.SubscribeReadiness()
//	…
//	ready, err := poll.Poll(exit, messages)
//
// Readiness is a level, not an edge: a pollable stays ready until what made it
// ready is gone, such as until the output is read. Waiting stops the whole
// instance, its other goroutines too, and costs no CPU; when the call of the
// capsule is cancelled it ends with [ErrCancelled].
//
// Built for anything but wasip1, every function returns [ErrOutside].
package poll
