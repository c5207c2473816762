package control

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// serveOn answers every request on a new socket with h.
func serveOn(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	_ = s.Listener.Close() // the one on TCP, which nobody has used
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return NewClient(socket)
}

func TestNewestRefusesBadTrailers(t *testing.T) {
	sum := sha256.Sum256([]byte("segment"))
	good := map[string]string{TrailerFirst: "3", TrailerLast: "7", TrailerSHA256: hex.EncodeToString(sum[:])}
	for _, c := range []struct{ name, value, want string }{
		{TrailerFirst, "3", ""},
		{TrailerFirst, "", TrailerFirst},
		{TrailerLast, "-7", TrailerLast},
		{TrailerSHA256, "00", "damaged"},
	} {
		client := serveOn(t, func(w http.ResponseWriter, _ *http.Request) {
			for name := range good {
				w.Header().Add("Trailer", name)
			}
			_, _ = io.WriteString(w, "segment") // the client finds out
			for name, value := range good {
				w.Header().Set(name, value)
			}
			w.Header().Set(c.name, c.value)
		})
		n, err := client.Newest(t.Context(), io.Discard)
		var e *Error
		switch {
		case c.want == "" && (err != nil || n.First != 3 || n.Last != 7):
			t.Errorf("got %+v, %v", n, err)
		case c.want != "" && (!errors.As(err, &e) || e.Code != CodeFailed || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s %q: got %v", c.name, c.value, err)
		}
	}
}
