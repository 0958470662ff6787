package proxytest

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"stoa/api/fault"
	"stoa/internal/engine/flow"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
)

// testClosed: a call to what has no endpoint and awaits none is refused at once. Every
// upstream here would hold a call for an hour.
func testClosed(t *testing.T, open func(proxy.Options) Engine) {
	why := snapshot.Closed{Reason: hop.Stopped, Text: "orders was stopped", Hint: "To start it: stoa start orders"}
	hour := upstream(func(u *snapshot.Upstream) { u.Hold, u.Service = time.Hour, "orders" })
	ok := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }

	t.Run("with the reason and what to do", func(t *testing.T) {
		b := newBench(t, open, hour)
		b.Close("svc", why)
		for _, addr := range []string{b.mesh, b.edge} {
			code, body, h := get(t, client(t, false), "http://"+addr+"/")
			if code != 503 || h.Get("Stoa-Reason") != "stopped" || !strings.Contains(body, why.Text) || !strings.Contains(body, why.Hint) {
				t.Errorf("%d %s %q", code, h.Get("Stoa-Reason"), body)
			}
		}
		got := raw(t, b.mesh, "GET / HTTP/1.1\r\nHost: svc\r\nAccept: application/json\r\nConnection: close\r\n\r\n")
		_, body, _ := strings.Cut(got, "\r\n\r\n")
		var problem struct{ Detail, Reason, Hint string }
		if err := json.Unmarshal([]byte(body), &problem); err != nil || problem.Detail != why.Text || problem.Reason != "stopped" || problem.Hint != why.Hint {
			t.Errorf("%q, %v", got, err)
		}
		b.waitHop("the refusal", func(r hop.Record) bool {
			return r.Reason == hop.Stopped && r.Status == 503 && r.Callee == "orders" && r.Held == 0
		})
	})
	t.Run("callers outside are told nothing of services and operators", func(t *testing.T) {
		b := tunedBench(t, open, proxy.Options{}, hour)
		b.Close("svc", why)
		code, body, h := get(t, client(t, false), "http://"+b.edge+"/")
		if code != 503 || h.Get("Stoa-Reason") != "stopped" || strings.Contains(body, "orders") || strings.Contains(body, "stoa start") || !strings.Contains(body, "trace ") {
			t.Errorf("%d %s %q", code, h.Get("Stoa-Reason"), body)
		}
		b.waitHop("the refusal, with its text", func(r hop.Record) bool { return r.Reason == hop.Stopped && r.Error == why.Text })
		if _, body, _ := get(t, client(t, false), "http://"+b.mesh+"/"); !strings.Contains(body, why.Text) || !strings.Contains(body, why.Hint) {
			t.Errorf("a caller inside is told %q", body)
		}
	})
	t.Run("a gRPC call is unavailable, with the message", func(t *testing.T) {
		b := newBench(t, open, hour, protocol(snapshot.H2C))
		b.Close("svc", why)
		req, _ := http.NewRequest("POST", "http://"+b.mesh+"/svc/Echo", strings.NewReader(""))
		req.Header.Set("Content-Type", "application/grpc")
		resp, err := client(t, true).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if msg := resp.Header.Get("Grpc-Message"); resp.StatusCode != 200 || resp.Header.Get("Grpc-Status") != "14" || !strings.Contains(msg, why.Text) || !strings.Contains(msg, why.Hint) {
			t.Errorf("%d, status %q, message %q", resp.StatusCode, resp.Header.Get("Grpc-Status"), msg)
		}
	})
	t.Run("a TCP connection ends", func(t *testing.T) {
		b := newBench(t, open, func(s *snapshot.Snapshot) {
			s.Listeners["web>db"] = snapshot.Listener{Caller: "web", Protocol: snapshot.TCP, Upstream: "db"}
			s.Upstreams["db"] = snapshot.Upstream{Protocol: snapshot.TCP, Hold: time.Hour}
		})
		b.Close("db", why)
		if got, err := io.ReadAll(dial(t, b.bind("web>db"))); len(got) > 0 {
			t.Errorf("read %q, %v", got, err)
		}
		b.waitHop("the refusal", func(r hop.Record) bool { return r.Protocol == "tcp" && r.Reason == hop.Stopped && r.Failed() })
	})
	t.Run("a call from inside fails, and nothing was sent", func(t *testing.T) {
		b := newBench(t, open, hour)
		b.Close("svc", why)
		req, _ := http.NewRequest("GET", "http://any/", nil)
		_, o, err := b.Call(t.Context(), "stoa/events", "svc", req)
		if !fault.Is(err, fault.Unavailable) || o.Sent != flow.No || o.Reason != hop.Stopped || fault.HintOf(err) != why.Hint {
			t.Errorf("%v, %+v", err, o)
		}
	})
	t.Run("calls that wait are refused when it closes", func(t *testing.T) {
		b := newBench(t, open, hour)
		var calls sync.WaitGroup
		for range 10 {
			calls.Go(func() {
				if code, _, h := get(t, client(t, false), "http://"+b.mesh+"/"); code != 503 || h.Get("Stoa-Reason") != "stopped" {
					t.Errorf("%d %s", code, h.Get("Stoa-Reason"))
				}
			})
		}
		b.Close("svc", why)
		calls.Wait()
	})
	t.Run("what its endpoints hold is finished", func(t *testing.T) {
		b := newBench(t, open, hour)
		came, goOn := make(chan bool), make(chan bool)
		b.serve(func(w http.ResponseWriter, r *http.Request) { close(came); <-goOn; io.WriteString(w, "done") })
		answer := make(chan string, 1)
		go func() { _, body, _ := get(t, client(t, false), "http://"+b.mesh+"/"); answer <- body }()
		<-came
		b.Close("svc", why)
		close(goOn)
		if got := <-answer; got != "done" {
			t.Errorf("answered %q", got)
		}
		if err := b.Drained(t.Context(), "svc-1"); err != nil {
			t.Error(err)
		}
	})
	t.Run("until endpoints are told again, and over snapshots", func(t *testing.T) {
		b := newBench(t, open, hour)
		b.Close("svc", why)
		if err := b.Swap(usual(hour, func(s *snapshot.Snapshot) { s.Version.Revision++ })); err != nil {
			t.Fatal(err)
		}
		if code, _, _ := get(t, client(t, false), "http://"+b.mesh+"/"); code != 503 {
			t.Errorf("after another snapshot: %d", code)
		}
		b.SetEndpoints("svc", nil) // it is starting: calls wait
		code := make(chan int, 1)
		go func() { c, _, _ := get(t, client(t, false), "http://"+b.mesh+"/"); code <- c }()
		b.SetEndpoints("svc", []snapshot.Endpoint{endpoint("svc-2", server(t, ok))})
		if c := <-code; c != 200 {
			t.Errorf("started again: %d", c)
		}
	})
}
