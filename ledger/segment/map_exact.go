//go:build windows || 386 || arm || mips || mipsle

package segment

// mapAhead tells whether a mapping may be larger than the file: on Windows it
// would make the file as large, and with 32 bits there is no room to spare.
const mapAhead = false
