// Package ipc publishes and receives messages on the host's bus, by
// astrid:ipc/host@1.0.0.
//
//	sub, err := ipc.Subscribe("astrid.process.v1.exited.*")
//	…
//	defer sub.Drop()
//	for m, err := range sub.Messages() {
//		…
//	}
//
// A topic is up to 256 bytes in up to 8 segments of a-z, 0-9, _ and -,
// separated by dots; a pattern may end in *. A payload is JSON of at most 1 MiB. The bus
// never makes a publisher wait: a subscriber that is too slow loses the oldest
// messages, and its envelopes say how many.
//
// A subscription lives as long as the capsule's instance, and gets what is
// published after it was made. Receiving stops the whole instance, its other
// goroutines too; when the call of the capsule is cancelled it ends with an
// error that errors.Is takes for context.Canceled.
//
// Built for anything but wasip1, every function returns [ErrOutside].
package ipc
