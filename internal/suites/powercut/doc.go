// Package powercut makes the states of a disk that a power cut could leave, from
// the system calls of real daemons and shims. It is for tests.
//
// strace records what the daemons, their launchers, shims and programs do to
// files, in one order ([ReadCalls]). A [History] holds the changes and the
// flushes, and a [Replayer] makes of it, for any moment of the trace, what may be
// there when the machine starts again ([Replayer.State]); [State.Lay] lays that
// into a directory, where the real code opens it.
//
// # The model
//
// What a flush covered that has returned is there. What had begun and was not
// covered is undecided: of data each sector of 512 bytes by itself, of several
// writes to one sector any, and a size with or without the data. A flush covers
// what was over when it began. A call is taken for begun when it is entered and
// for over when it returns, so calls that overlap are undecided either way.
//
// For names there are two models. In [Strict] a flush of a file says nothing of
// its name, and one of a directory covers the names in it and no others; of
// names that are undecided any may be there, with or without the content of what
// they name. In [Journal], as on ext4, changes of names are there in their order,
// up to one of them, and every flush covers all before it. A rename is atomic in
// both, as every local file system of Linux has it.
//
// [Pickers] decide: everything, nothing, names alone, contents alone, the newest
// write torn, and lots drawn from a seed.
//
// # What is left out
//
// What goes through a mapping: the rings of output, which make no promise over
// a power cut; their files are there, with zeros where output was. Sockets, and
// modes of files. A disk that loses what it was told to flush, but for the test
// that the tests notice it ([History.WithoutSyncs]).
//
// Where to look:
//
//   - strace.go, args.go: reading a trace.
//   - history.go: what the calls do to files and names.
//   - durable.go: from when on each change is there for certain.
//   - state.go, pick.go: what a power cut leaves.
//   - lay.go: putting that into a directory.
package powercut
