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
// # Versions
//
// A shim lives as long as its program, a daemon only until it is replaced: so
// each speaks with older and with newer builds of the other. Every message, spec,
// record and file says in its field 1 which [ProtocolVersion] its writer was
// built with, and readers live with any:
//
//   - A version only ever adds: types, fields, bits, names of files. What a number
//     means, once it stood in a build that ran anywhere, never changes, and is
//     never used again. So each version can do all that the ones below it can.
//   - A higher version than one's own is read as one's own: fields that are not
//     known are skipped, and a type that is not known is answered TypeUndefined by
//     a shim or launcher, and ignored by a daemon. Nothing else depends on it.
//   - A lower version lacks what came later: its fields read as zero, which
//     therefore always means "as before there was such a field". A daemon asks
//     nothing of a shim that its version does not have ([Spec.Needs]): what a spec
//     needs is compared with `ready` before "go", and a spawn that the shim would
//     only half carry out is refused. What it would tell a newer daemon is looked
//     at instead.
//   - No version, or one that cannot be read, counts as 1.
//
// What must stay as it is in every version, because a daemon needs it to end and
// to record what it finds: one message a packet on a SOCK_SEQPACKET socket named
// `sock`; protobuf's wire format; fields 1 to 3 of a message (version, type,
// number of the request); TypeHello, TypeState, TypeSignal, TypeSignaled,
// TypeExited and TypeUndefined; the flock on `lock`; the frame of a record's file,
// and the names of the files.
//
// A message that is no message is skipped by whoever reads it, be it cut, too
// long, empty or full of descriptors: it ends neither a shim nor a daemon, and no
// connection.
//
// # Who is who
//
// The launcher and a new shim have their daemon at the other end of a pair of
// sockets that nobody else ever held. Later a daemon connects to `sock`, and then
// each end asks the kernel who the other is (peer.go): both must be of the same
// user; neither may be below a shim, which everything is that a capsule runs; and
// who listens must be the shim that works in that very directory.
//
// # Out of memory
//
// A shim is the last that the kernel should choose, as its program dies with it
// (oom.go).
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
