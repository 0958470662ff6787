// Package h2spec runs h2spec, the conformance suite for servers of HTTP/2, against each
// listener of the data plane, with a plain service behind it.
//
// Of the portable engine, whose HTTP/2 is net/http's, it is known what it misses; of our own,
// one case that no port can pass which speaks HTTP/1.1, too. The misses are listed here, with the
// reason, and in docs/reference/conformance.md; any other miss fails, and so does a known
// one that passes: then the lists are to be shortened.
package h2spec

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"

	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
	"stoa/test/conformance/stand"
)

// cases is how many cases the pinned release has: none is lost unseen.
const cases = 146

// patience is for a case that ran out of time at first: the machine may be busy.
const (
	first    = 3 * time.Second
	patience = 30 * time.Second
)

// A miss is a case that is known to fail, with the reason.
type miss struct {
	clear    bool // only in clear text
	portable bool // only of the portable engine
	reason   string
}

// misses are the known ones, by id. None lets a request through to a service that should not be.
var misses = map[string]miss{
	"http2/3.5/2":     {clear: true, reason: "what is no preface of HTTP/2 is read as HTTP/1.1: the caller gets a 400 of HTTP/1.1 before the connection is closed"},
	"http2/6.5.3/1":   {portable: true, reason: "net/http takes two values of one setting in a frame for an attack, and closes the connection with PROTOCOL_ERROR"},
	"http2/8.1.2.2/1": {portable: true, reason: "net/http answers a connection-specific field with 400, not with RST_STREAM"},
	"http2/8.1.2.2/2": {portable: true, reason: "net/http answers TE other than trailers with 400, not with RST_STREAM"},
}

func TestH2Spec(t *testing.T) {
	ln := stand.Listen(t)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "a plain service\n")
	})}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	for engine, e := range stand.Engines {
		s := stand.Open(t, e, snapshot.HTTP1, ln.Addr().String())
		for name, addr := range s.Listeners() {
			t.Run(engine+"/"+name, func(t *testing.T) {
				t.Parallel()
				against(t, addr, addr == s.Secure, e)
			})
		}
	}
}

func against(t *testing.T, addr string, secure bool, e proxy.Engine) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(port)
	c := config.Config{Host: host, Port: n, Path: "/", MaxHeaderLen: 4000, TLS: secure, Insecure: true}
	ran := 0
	for _, g := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
		ran += group(t, g, c, e)
	}
	if ran != cases {
		t.Errorf("%d cases, want %d", ran, cases)
	}
}

// group runs the cases of a group and of those below it, and says how many there are.
func group(t *testing.T, g *spec.TestGroup, c config.Config, e proxy.Engine) (n int) {
	for i, tc := range append(g.Tests, g.StrictTests...) {
		n++
		id := fmt.Sprintf("%s/%d", g.ID(), i+1)
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			err := run(tc, c, first)
			m, known := misses[id]
			known = known && !(m.clear && c.TLS) && (!m.portable || e == proxy.Portable)
			if err != nil && !known {
				err = run(tc, c, patience)
			}
			switch {
			case err != nil && !known:
				t.Errorf("%s\n%s\n%v", tc.Desc, tc.Requirement, err)
			case err == nil && known:
				t.Errorf("%s\npasses, but is listed as a known miss: %s\nTake it out here and in docs/reference/conformance.md.", tc.Desc, m.reason)
			}
		})
	}
	for _, below := range g.Groups {
		n += group(t, below, c, e)
	}
	return n
}

// run runs one case on a connection of its own.
func run(tc *spec.TestCase, c config.Config, timeout time.Duration) (err error) {
	c.Timeout = timeout
	conn, err := spec.Dial(&c)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer func() {
		if v := recover(); v != nil { // h2spec, on a connection that was closed before it looked
			err = fmt.Errorf("%v", v)
		}
	}()
	err = tc.Run(&c, conn)
	// A reset is a close: h2spec looks for the bare error number, which Go no more gives.
	var e *spec.TestError
	if errors.As(err, &e) && strings.Contains(e.Actual, "connection reset by peer") {
		for _, want := range e.Expected {
			if want == spec.ExpectedConnectionClosed {
				return nil
			}
		}
	}
	return err
}
