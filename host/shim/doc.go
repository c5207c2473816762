// Package shim is both ends of the shim: the small process that stands between
// the daemon and one user program, and the messages and files by which the two
// speak.
//
// # Why it exists
//
// The daemon may be killed at any moment, and a program's exit status goes to
// its parent and to nobody else. So the parent is a process that stays: one
// shim for each program. Where the machine allows it, the shim is PID 1 of a
// PID namespace of its own, so that the whole tree dies with it, whatever the
// tree did to its sessions and process groups.
//
// # The life of a shim
//
// The launcher ([launchMain]) clones it. It reads its [Spec] from a memfd, sets
// up its namespace, listens on `sock` in its process directory, writes `ready`
// and waits for "go" on the connection that it inherited. The end of that
// connection before "go" means that nothing runs, ever. After "go" it writes
// `go`, resolves and forks the program, writes `started` or `failed`, pumps the
// two output streams into ring files, sends the signals it is asked to send,
// carries out its standing orders when no daemon does, and at the end writes
// `exit` and leaves. Every step is a file in the process directory, so that a
// daemon that starts later knows what happened without anybody's memory.
//
// # The streams
//
// An output goes from a pipe through a pump into a ring file, which the daemon
// reads without asking (ring.go has the layout, pump.go what happens when it is
// full). Two words in the ring's header each stand for one message to come: a
// reader who asks to be told of output, and a pump that waits for room.
//
// A standard input is the prelude itself, or a pipe that stays open: then the
// daemon writes by itself, and the shim keeps the pipe open over its restart
// (stdin.go).
//
// # The weaker mode
//
// Without a namespace the shim is a subreaper and finds its tree by walking
// /proc. What that does not give: if the shim itself is killed, the program dies
// with it (by its parent-death signal), but descendants of the program live on,
// and nobody holds them any more. In a namespace the kernel ends them.
//
// # What may import it
//
// host/act and the three-line main in host/shim/astrid-shim: messages of this
// package are acts on the world, and acts take a receipt of the ledger.
//
// Every live process pays for what this package links: no net, no JSON, no
// logging, no wazero, no bbolt. A test holds that.
package shim
