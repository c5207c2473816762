// Package managed holds the tests of what is between the daemon and a service
// manager: real daemons below a manager of the tests, which hands over sockets and
// is told by sd_notify; and of the unit files.
package managed
