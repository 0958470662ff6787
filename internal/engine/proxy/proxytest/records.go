package proxytest

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
)

// testRecords: what is known afterwards.
func testRecords(t *testing.T, open func(proxy.Options) Engine) {
	b := newBench(t, open)
	b.serve(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(201)
		w.Write(bytes.Repeat([]byte("x"), 1000))
	})
	resp, err := client(t, false).Post("http://"+b.mesh+"/a%2Fb?q", "text/plain", strings.NewReader("0123456789"))
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	r := b.waitHop("the request", func(r hop.Record) bool { return r.Status == 201 })
	r.Start, r.Trace, r.Span = time.Time{}, hop.TraceID{}, hop.SpanID{}
	if r.Duration <= 0 || r.Head <= 0 || r.Head > r.Duration {
		t.Errorf("times: head %v, whole %v", r.Head, r.Duration)
	}
	r.Duration, r.Head, r.Address = 0, 0, ""
	want := hop.Record{Listener: "web>svc", Caller: "web", Callee: "svc", Route: "all", Protocol: "HTTP/1.1", Method: "POST", Host: b.mesh,
		Path: "/a%2Fb", Status: 201, GRPC: -1, Endpoint: "svc-1", Instance: "svc-1", Attempts: 1, In: 10, Out: 1000, Sampled: true}
	if r != want {
		t.Errorf("record %+v\nwant   %+v", r, want)
	}
	for s := range b.meters.Samples("stoa_proxy_requests_total", "stoa_proxy_request_duration_seconds") {
		if s.Label("caller") != "web" || s.Label("callee") != "svc" || s.Label("route") != "all" {
			t.Errorf("series %v", s.Values)
		}
		if s.Value+float64(s.Dist.Count) != 1 || s.Kind == "counter" && s.Label("class") != "2xx" {
			t.Errorf("%s%v = %g, %d", s.Name, s.Values, s.Value, s.Dist.Count)
		}
	}
}
