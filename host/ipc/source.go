package ipc

import (
	"crypto/sha1"
	"encoding/hex"
)

// capsuleSpace is the namespace of the ids of capsules, itself a random UUID.
// It may never change: ids are meant to be kept.
var capsuleSpace = [16]byte{0x5e, 0x0f, 0x2c, 0x1d, 0x9a, 0x47, 0x4b, 0x6e, 0x8c, 0x33, 0x71, 0xd0, 0x5b, 0xe6, 0x14, 0xa9}

// SourceID returns the id by which a capsule is known to others: a UUID of
// version 5, made from its name. It is the same on every machine and after
// every restart. The empty name, which is the host's, has none.
func SourceID(capsule string) string {
	if capsule == "" {
		return ""
	}
	h := sha1.New()
	h.Write(capsuleSpace[:])
	h.Write([]byte(capsule))
	id := h.Sum(nil)[:16]
	id[6] = id[6]&0x0f | 0x50
	id[8] = id[8]&0x3f | 0x80
	text := hex.EncodeToString(id)
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}
