// Package guest is for writing capsules in Go. A capsule is a library for
// WASI preview 1:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o mine.wasm .
//
// with a Capsule.toml beside it. Its main function is empty and never runs;
// handlers are registered in an init function:
//
//	package main
//
//	func init() {
//		guest.Tool("greet", "Says hello.", nil, func(c guest.Call) (any, error) {
//			var in struct{ Name string }
//			if err := c.Decode(&in); err != nil {
//				return nil, err
//			}
//			return "hello, " + in.Name, nil
//		})
//	}
//
//	func main() {}
//
// The host calls one handler at a time, and only while one runs does the
// capsule run at all: goroutines that outlive their handler stand still until
// the next call. What a handler leaves in variables is there in the next call
// of the same principal, unless the instance was discarded in between.
//
// Programs are run by package guest/process. A capsule has no files of its own.
package guest
