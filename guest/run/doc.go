// Package run makes a capsule one that works of itself: the host calls it once,
// in the background, when it has loaded the capsule.
//
//	func init() {
//		run.Main(func() error {
//			sub, err := ipc.Subscribe("astrid.process.v1.exited.*")
//			if err != nil {
//				return err
//			}
//			sys.SignalReady()
//			for m, err := range sub.Messages() {
//				…
//			}
//		})
//	}
//
//	func main() {}
//
// Importing it exports run; a capsule that only answers calls does not import
// it. A capsule may do both: then the instance that runs is not one that is
// called, and they share no memory.
package run
