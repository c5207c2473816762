package serve

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/astrid-os/processledger/internal/control"
)

// stall is how long a client may take none of the bytes of a copy, which lies
// on the ledger's disk as long as it is being sent.
const stall = 30 * time.Second

// newest streams a copy of the newest segment. Bounds and digest come in
// trailers, because the ledger tells them with the last byte.
func (s *Server) newest(w http.ResponseWriter, r *http.Request) {
	live, err := s.live()
	if err == nil {
		err = params(r)
	}
	if err != nil {
		fail(w, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", control.TypeNewest)
	h.Set("Trailer", control.TrailerFirst+", "+control.TrailerLast+", "+control.TrailerSHA256)
	digest := sha256.New()
	out := &patient{w: io.MultiWriter(w, digest), rc: http.NewResponseController(w)}
	defer out.rc.SetWriteDeadline(time.Time{}) // the connection may carry another request
	info, err := live.Ledger().CopyNewest(r.Context(), out)
	switch {
	case err == nil:
	case out.n == 0:
		h.Del("Trailer")
		fail(w, err)
		return
	default:
		s.o.Log.Warn("copy of the newest segment broke off", "bytes", out.n, "error", err)
		panic(http.ErrAbortHandler) // the client must not take it for whole
	}
	h.Set(control.TrailerFirst, strconv.FormatUint(info.First, 10))
	h.Set(control.TrailerLast, strconv.FormatUint(info.Last, 10))
	h.Set(control.TrailerSHA256, hex.EncodeToString(digest.Sum(nil)))
}

// patient writes with a deadline that each write moves on.
type patient struct {
	w  io.Writer
	rc *http.ResponseController
	n  int64
}

func (p *patient) Write(b []byte) (int, error) {
	if err := p.rc.SetWriteDeadline(time.Now().Add(stall)); err != nil {
		return 0, err
	}
	n, err := p.w.Write(b)
	p.n += int64(n)
	return n, err
}
