package proxytest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stoa/internal/engine/deadline"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/retry"
	"stoa/internal/engine/snapshot"
)

// testDeadlines: no request waits beyond its deadline, and no work is done for a caller who
// has left.
func testDeadlines(t *testing.T, open func(proxy.Options) Engine) {
	told := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.Header.Get("Stoa-Timeout-Ms"), r.Header.Get("Grpc-Timeout"))
	}
	t.Run("the callee has less time than its caller", func(t *testing.T) {
		for _, proto := range []snapshot.Protocol{snapshot.HTTP1, snapshot.H2C} {
			b := newBench(t, open, protocol(proto), policy(snapshot.Policy{Deadline: deadline.Config{Total: time.Hour}}))
			b.serve(told)
			ms := func(text string) (n int, grpc string) {
				fmt.Sscanf(text, "%d %s", &n, &grpc)
				return n, grpc
			}
			const hour, minute = 3600_000, 60_000
			for _, c := range []struct {
				addr, lines string
				from, below int // milliseconds
				grpc        bool
			}{
				{b.mesh, "", hour / 2, hour, false},
				{b.mesh, "Stoa-Timeout-Ms: 600000\r\n", 300_000, 600_000, false},
				{b.mesh, "stoa-timeout-ms: 7200000\r\n", hour / 2, hour, false}, // never longer than the route
				{b.mesh, "grpc-timeout: 10M\r\n", 300_000, 600_000, true},
				{b.mesh, "X-Envoy-Expected-Rq-Timeout-Ms: 600000\r\n", 300_000, 600_000, false},
				{b.edge, "", hour / 2, hour, false},
				{b.edge, "Stoa-Timeout-Ms: 600000\r\n", hour / 2, hour, false}, // not believed from outside
				{b.edge, "X-Envoy-Expected-Rq-Timeout-Ms: 600000\r\n", hour / 2, hour, false},
				{b.edge, "grpc-timeout: 10M\r\n", 300_000, 600_000, true},
			} {
				code, _, text := ask(t, c.addr, "GET", c.lines, "")
				n, grpc := ms(text)
				if code != 200 || n <= c.from || n >= c.below || (grpc != "") != c.grpc || grpc == "10M" {
					t.Errorf("%s, edge=%v, %q: %d, the service was told %q; want %d to %d", proto, c.addr == b.edge, c.lines, code, text, c.from, c.below)
				}
				if d, ok := deadline.ParseGRPC([]byte(grpc)); c.grpc && (!ok || d > 10*time.Minute || d < 5*time.Minute) {
					t.Errorf("grpc-timeout %q", grpc)
				}
			}
		}
	})
	t.Run("without a word, 15 seconds", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(told)
		_, _, text := ask(t, b.mesh, "GET", "", "")
		n := 0
		if fmt.Sscan(text, &n); n <= 1000 || n >= 15_000 {
			t.Errorf("the service was told %q", text)
		}
	})
	t.Run("no call is made where no time is left", func(t *testing.T) {
		b := newBench(t, open)
		var seen atomic.Int64
		b.serve(func(w http.ResponseWriter, r *http.Request) { seen.Add(1) })
		for _, line := range []string{"Stoa-Timeout-Ms: 0\r\n", "Stoa-Timeout-Ms: 1\r\n", "grpc-timeout: 0n\r\n"} {
			if code, h, _ := ask(t, b.mesh, "POST", line, "body"); code != 504 || h.Get("Stoa-Reason") != string(hop.Deadline) {
				t.Errorf("%q: %d %s", line, code, h.Get("Stoa-Reason"))
			}
		}
		if seen.Load() != 0 {
			t.Errorf("the service had %d requests", seen.Load())
		}
	})
	t.Run("who takes too long is left", func(t *testing.T) {
		for _, proto := range []snapshot.Protocol{snapshot.HTTP1, snapshot.H2C} {
			b := newBench(t, open, protocol(proto))
			left := make(chan bool, 1)
			b.serve(func(w http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				select {
				case left <- true:
				default:
				}
			})
			eventually(t, "the service sees it", func() bool { // it may not be asked at all, on a busy machine
				if code, h, _ := ask(t, b.mesh, "GET", "Stoa-Timeout-Ms: 200\r\n", ""); code != 504 || h.Get("Stoa-Reason") != string(hop.Deadline) {
					t.Fatalf("%s: %d %s", proto, code, h.Get("Stoa-Reason"))
				}
				select {
				case <-left:
					return true
				case <-time.After(time.Second):
					return false
				}
			})
		}
	})
	t.Run("and so is who stops in the middle", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "half")
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})
		eventually(t, "an answer begins in time", func() bool {
			code, _, _ := ask(t, b.mesh, "GET", "Stoa-Timeout-Ms: 200\r\n", "")
			return code != 504
		})
		b.waitHop("it", func(r hop.Record) bool { return r.Reason == hop.Deadline && r.Status == 200 })
	})
	t.Run("waiting for a service that starts ends with it", func(t *testing.T) {
		b := newBench(t, open, upstream(func(u *snapshot.Upstream) { u.Hold = time.Hour }))
		if code, h, _ := ask(t, b.mesh, "GET", "Stoa-Timeout-Ms: 50\r\n", ""); code != 504 || h.Get("Stoa-Reason") != string(hop.Deadline) {
			t.Errorf("%d %s", code, h.Get("Stoa-Reason"))
		}
	})
	t.Run("a repeat has less", func(t *testing.T) {
		b := newBench(t, open, calm, policy(snapshot.Policy{Retry: retry.Config{Attempts: 5, Base: 20 * time.Millisecond, Cap: 20 * time.Millisecond}}))
		var mu sync.Mutex
		var times []int
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			n, err := strconv.Atoi(r.Header.Get("Stoa-Timeout-Ms"))
			body, _ := io.ReadAll(r.Body)
			mu.Lock()
			if err == nil && string(body) == "body" {
				times = append(times, n)
			}
			mu.Unlock()
			w.WriteHeader(503)
		})
		ask(t, b.mesh, "PUT", "", "body")
		mu.Lock()
		defer mu.Unlock()
		if len(times) != 5 || times[4] >= times[0] {
			t.Errorf("the service was told %v", times)
		}
		for i := range len(times) - 1 {
			if times[i+1] > times[i] {
				t.Errorf("the service was told %v", times)
			}
		}
	})
	t.Run("a stream has none, once it has begun", func(t *testing.T) {
		for _, proto := range []snapshot.Protocol{snapshot.HTTP1, snapshot.H2C} {
			b := newBench(t, open, protocol(proto), policy(snapshot.Policy{Deadline: deadline.Config{Total: 300 * time.Millisecond}}))
			b.serve(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				c := http.NewResponseController(w)
				for range 8 {
					io.WriteString(w, "data: x\n\n")
					c.Flush()
					select {
					case <-time.After(100 * time.Millisecond):
					case <-r.Context().Done():
						return
					}
				}
			})
			eventually(t, "it begins in time", func() bool {
				code, body, _ := get(t, client(t, false), "http://"+b.mesh+"/")
				if code == 200 && len(body) != 72 {
					t.Errorf("%s: %q", proto, body)
				}
				return code == 200
			})
		}
	})
	t.Run("but one on which nothing passes is ended", func(t *testing.T) {
		for _, proto := range []snapshot.Protocol{snapshot.HTTP1, snapshot.H2C} {
			b := newBench(t, open, protocol(proto), policy(snapshot.Policy{Deadline: deadline.Config{Idle: 200 * time.Millisecond}}))
			ended := make(chan bool, 1)
			b.serve(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				io.WriteString(w, "data: x\n\n")
				http.NewResponseController(w).Flush()
				<-r.Context().Done()
				ended <- true
			})
			ask(t, b.mesh, "GET", "", "")
			select {
			case <-ended:
			case <-time.After(patience):
				t.Fatalf("%s: it is still there", proto)
			}
			b.waitHop("the stream", func(r hop.Record) bool { return r.Status == 200 && r.Reason == hop.Deadline })
		}
	})
	t.Run("a call from inside says how long it waits", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(told)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		req, _ := http.NewRequest("GET", "/", nil)
		resp, _, err := b.Call(ctx, "stoa", "svc", req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		n := 0
		if fmt.Sscan(string(text), &n); n < 1800_000 || n > 3600_000 {
			t.Errorf("the service was told %q", text)
		}
	})
}
