package serve

import (
	"io"
	"net/http"
	"time"
)

// input is the rest of a request's body as a program's standard input. It is
// read a little ahead, because a client that leaves is noticed in no other way
// while it still sends.
type input struct {
	pieces chan []byte   // closed at the end of the body
	done   chan struct{} // closed when the program is over
	ended  chan struct{} // closed when the body has ended or broken off
	rest   []byte        // of the newest piece; the reader's own
}

// How much is read ahead: that many pieces of so many bytes.
const (
	inputPieces = 16
	inputPiece  = 4 << 10
)

// newInput begins to read the body; gone is called if it breaks off.
func newInput(body io.Reader, gone func()) *input {
	in := &input{pieces: make(chan []byte, inputPieces), done: make(chan struct{}), ended: make(chan struct{})}
	go in.pump(body, gone)
	return in
}

func (in *input) pump(body io.Reader, gone func()) {
	defer close(in.ended)
	defer close(in.pieces)
	for {
		piece := make([]byte, inputPiece)
		n, err := body.Read(piece)
		if n > 0 {
			select {
			case in.pieces <- piece[:n]:
			case <-in.done: // and so it goes nowhere
			}
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			gone()
			return
		}
	}
}

// Read implements io.Reader. A body that broke off reads as one that ended, and
// so does one that is stopped: the program is cancelled then, or over.
func (in *input) Read(b []byte) (int, error) {
	for len(in.rest) == 0 {
		select {
		case piece, ok := <-in.pieces:
			if !ok {
				return 0, io.EOF
			}
			in.rest = piece
		case <-in.done:
			return 0, io.EOF
		}
	}
	n := copy(b, in.rest)
	in.rest = in.rest[n:]
	return n, nil
}

// lingerBound is how long a client that was answered may go on sending.
const lingerBound = 5 * time.Second

// stop takes in what the client still sends, until it has seen the answer and
// leaves: a connection that is closed before would take the answer with it.
func (in *input) stop(both *http.ResponseController) {
	close(in.done)
	_ = both.SetReadDeadline(time.Now().Add(lingerBound)) // one that is gone reads nothing either
	<-in.ended
}
