package proxytest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"stoa/api/fault"
	"stoa/internal/engine/flow"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
)

// testCall: requests from inside.
func testCall(t *testing.T, open func(proxy.Options) Engine) {
	t.Run("an answer of the service", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s %s", r.RequestURI, body, r.Header.Get("X-A"))
		})
		req, _ := http.NewRequest("POST", "http://any/a%2Fb?x;y", strings.NewReader("body"))
		req.Header.Set("X-A", "1")
		resp, o, err := b.Call(t.Context(), "stoa/events", "svc", req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if string(got) != "/a%2Fb?x;y body 1" || err != nil || resp.StatusCode != 500 {
			t.Errorf("%d %q, %v", resp.StatusCode, got, err)
		}
		if !o.Answered || o.Sent != flow.Yes || o.Attempts != 1 || o.Endpoint != "svc-1" || o.Trace.IsZero() || o.Reason != "" {
			t.Errorf("outcome %+v", o)
		}
		resp.Body.Close()
		b.waitHop("the call", func(r hop.Record) bool {
			return r.Caller == "stoa/events" && r.Callee == "svc" && r.Status == 500 && r.In == 4 && r.Out == int64(len(got)) && r.Trace == o.Trace
		})
	})
	t.Run("how far it came", func(t *testing.T) {
		b := newBench(t, open, upstream(func(u *snapshot.Upstream) { u.Hold = -1 }))
		call := func(up string) (proxy.Outcome, error) {
			req, _ := http.NewRequest("POST", "http://svc/", strings.NewReader("body"))
			resp, o, err := b.Call(t.Context(), "stoa", up, req)
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			return o, err
		}
		if o, err := call("nobody"); !fault.Is(err, fault.NotFound) || o.Sent != flow.No || o.Answered {
			t.Errorf("unknown upstream: %+v, %v", o, err)
		}
		if o, err := call("svc"); !fault.Is(err, fault.Unavailable) || o.Sent != flow.No || o.Reason != hop.NoEndpoint {
			t.Errorf("no endpoint: %+v, %v", o, err)
		}
		b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "a", Address: closedPort(t)}})
		if o, err := call("svc"); !fault.Is(err, fault.Unavailable) || o.Sent != flow.No || o.Attempts != 0 {
			t.Errorf("no connection: %+v, %v", o, err)
		}
		b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "b", Address: rawServer(t, func(c *rawConn) { c.request() })}})
		if o, err := call("svc"); !fault.Is(err, fault.Unknown) || o.Sent != flow.Maybe || o.Answered {
			t.Errorf("broke before an answer: %+v, %v", o, err)
		}
		b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "c", Address: rawServer(t, func(c *rawConn) {
			c.request()
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
		})}})
		if o, err := call("svc"); err == nil || o.Sent != flow.Yes || !o.Answered {
			t.Errorf("broke in the answer: %+v, %v; want an error of the body", o, err)
		}
		b.waitHop("the broken answer", func(r hop.Record) bool { return r.Reason == hop.Truncated })
	})
}
