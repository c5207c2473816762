package host

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// A cursor is where a reader of a stream stands. Its token is opaque to guests,
// and good for nothing but that stream of that process: it carries a MAC over
// where it stands and what it belongs to.
//
//	version 1 | stream 1 | position 8 | generation 8 | MAC 16
//
// in lowercase base32 without padding. The generation is that of the output: the
// seq of the spawn.decided that began it.
const (
	cursorVersion = 1
	cursorPlain   = 1 + 1 + 8 + 8
	cursorBytes   = cursorPlain + 16
)

// cursors makes and reads the tokens of one stream of one process.
type cursors struct {
	key        []byte
	id         []byte // what stands for the process: the keyed hash of its id
	stream     Stream
	generation uint64
}

// token returns the token of a position.
func (c cursors) token(pos uint64) string {
	b := make([]byte, 0, cursorBytes)
	b = append(b, cursorVersion, byte(c.stream))
	b = binary.BigEndian.AppendUint64(b, pos)
	b = binary.BigEndian.AppendUint64(b, c.generation)
	return base32Lower.EncodeToString(append(b, c.mac(b)...))
}

// position reads a token. ok is false if it is none of this stream: malformed,
// made up, or another's, indistinguishably.
func (c cursors) position(token string) (pos uint64, ok bool) {
	if len(token) != base32Lower.EncodedLen(cursorBytes) {
		return 0, false
	}
	b, err := base32Lower.DecodeString(token)
	if err != nil || len(b) != cursorBytes {
		return 0, false
	}
	pos = binary.BigEndian.Uint64(b[2:])
	// The one token of that position here: nothing else is accepted, not even
	// another spelling of it.
	return pos, hmac.Equal([]byte(token), []byte(c.token(pos)))
}

func (c cursors) mac(plain []byte) []byte {
	mac := hmac.New(sha256.New, c.key)
	mac.Write([]byte("log cursor"))
	mac.Write([]byte{byte(len(c.id))})
	mac.Write(c.id)
	mac.Write(plain)
	return mac.Sum(nil)[:cursorBytes-cursorPlain]
}
