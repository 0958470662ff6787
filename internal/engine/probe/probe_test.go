package probe_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stoa/api/fault"
	"stoa/internal/engine/probe"
	"stoa/internal/engine/process"
)

func TestMain(m *testing.M) {
	if process.IsShim() {
		os.Exit(process.RunShim())
	}
	os.Exit(m.Run())
}

// check asks within a generous time and says what came of it.
func check(t *testing.T, p *probe.Prober, q probe.Probe) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return p.Check(ctx, q)
}

// well and unwell judge an answer; text and hint are parts of the reason's.
func well(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("check gave %q, want it well", err)
	}
}

func unwell(t *testing.T, err error, text, hint string) {
	t.Helper()
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), text) || !strings.Contains(fault.HintOf(err), hint) {
		t.Errorf("check gave %v (%s), hint %q; want it unavailable with %q, hint with %q",
			err, fault.KindOf(err), fault.HintOf(err), text, hint)
	}
}

func TestHTTP(t *testing.T) {
	var redirected atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "full=1" || r.UserAgent() != "stoa-probe" {
			w.WriteHeader(http.StatusTeapot)
		}
	})
	mux.HandleFunc("GET /down", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "database is\x00 gone\nstack trace", http.StatusServiceUnavailable)
	})
	mux.HandleFunc("GET /moved", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/target", http.StatusFound)
	})
	mux.HandleFunc("GET /target", func(w http.ResponseWriter, r *http.Request) { redirected.Store(true) })
	mux.HandleFunc("GET /endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 32<<10)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("GET /header", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	addr := s.Listener.Addr().String()
	var p probe.Prober
	ask := func(path string) error { return check(t, &p, probe.Probe{Kind: probe.HTTP, Addr: addr, Path: path}) }

	well(t, ask("/readyz?full=1"))
	well(t, ask("readyz?full=1"))
	well(t, ask("/moved"))
	if redirected.Load() {
		t.Error("a redirect was followed")
	}
	well(t, ask("/endless"))
	unwell(t, ask("/down"), "GET http://"+addr+"/down: 503 Service Unavailable: database is  gone", "")
	unwell(t, ask("/nowhere"), "404", "correct it under health")
	unwell(t, ask("/header"), "", "")
	if err := ask("/%zz"); !fault.Is(err, fault.Invalid) {
		t.Errorf("a path that is none gave %v, want invalid", err)
	}

	addr = unused(t)
	unwell(t, ask("/readyz"), "connection refused", "")
}

func TestHTTPOverTLSAndHTTP2(t *testing.T) {
	proto := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			http.Error(w, "want HTTP/2, got "+r.Proto, http.StatusHTTPVersionNotSupported)
		}
	})
	secure := httptest.NewUnstartedServer(proto)
	secure.EnableHTTP2 = true
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // a refused certificate is meant
	secure.StartTLS()
	defer secure.Close()
	trusting := &probe.Prober{TLS: secure.Client().Transport.(*http.Transport).TLSClientConfig}
	q := probe.Probe{Kind: probe.HTTP, Addr: secure.Listener.Addr().String(), TLS: true}
	well(t, check(t, trusting, q))
	unwell(t, check(t, &probe.Prober{}, q), "certificate", "")

	well(t, check(t, &probe.Prober{}, probe.Probe{Kind: probe.HTTP, Addr: h2cServer(t, proto), H2C: true}))
}

func TestSilenceIsNoAnswerInTime(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // connections are made by the kernel; nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, kind := range []probe.Kind{probe.HTTP, probe.GRPC} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		unwell(t, (&probe.Prober{}).Check(ctx, probe.Probe{Kind: kind, Addr: l.Addr().String()}), "no answer in time", "")
	}
}

func TestTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var dialled atomic.Bool
	p := probe.Prober{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialled.Store(true)
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
	well(t, check(t, &p, probe.Probe{Kind: probe.TCP, Addr: l.Addr().String()}))
	unwell(t, check(t, &p, probe.Probe{Kind: probe.TCP, Addr: unused(t)}), "connection refused", "")
	if !dialled.Load() {
		t.Error("the given dialer was not used")
	}
}

// health is a gRPC health service by hand.
type health struct {
	status  map[string]byte // by service
	trailer bool            // errors as trailers, not as headers alone
}

func (h health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != "POST" || r.Header.Get("Te") != "trailers" || r.Header.Get("Content-Type") != "application/grpc" || r.Header.Get("Grpc-Timeout") == "" {
		http.Error(w, "not gRPC", http.StatusUnsupportedMediaType)
		return
	}
	w.Header().Set("Content-Type", "application/grpc+proto")
	fail := func(code, message string) {
		prefix := ""
		if h.trailer {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			prefix = http.TrailerPrefix
		}
		w.Header().Set(prefix+"Grpc-Status", code)
		w.Header().Set(prefix+"Grpc-Message", message)
	}
	if r.URL.Path != "/grpc.health.v1.Health/Check" {
		fail("12", "unknown%20method")
		return
	}
	b, _ := io.ReadAll(r.Body)
	service := ""
	if len(b) > 5 {
		service = string(b[7:])
	}
	if len(b) < 5 || binary.BigEndian.Uint32(b[1:]) != uint32(len(b)-5) {
		fail("13", "bad frame")
		return
	}
	status, ok := h.status[service]
	if !ok {
		fail("5", "unknown%20service%20"+service)
		return
	}
	_, _ = w.Write([]byte{0, 0, 0, 0, 2, 1 << 3, status})
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
}

func TestGRPC(t *testing.T) {
	for _, trailer := range []bool{false, true} {
		t.Run(fmt.Sprintf("errors as trailers %v", trailer), func(t *testing.T) {
			addr := h2cServer(t, health{map[string]byte{"": 1, "shop.Cart": 1, "shop.Slow": 2, "shop.New": 0, "shop.Odd": 9}, trailer})
			var p probe.Prober
			ask := func(service string) error {
				return check(t, &p, probe.Probe{Kind: probe.GRPC, Addr: addr, Service: service})
			}
			well(t, ask(""))
			well(t, ask("shop.Cart"))
			unwell(t, ask("shop.Slow"), "health of shop.Slow at "+addr+": NOT_SERVING", "")
			unwell(t, ask("shop.New"), "UNKNOWN", "")
			unwell(t, ask("shop.Odd"), "unknown serving status 9", "")
			unwell(t, ask("shop.Nope"), "NOT_FOUND: unknown service shop.Nope", "correct service under health")
		})
	}
}

func TestGRPCWithoutHealthService(t *testing.T) {
	addr := h2cServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", "12")
	}))
	unwell(t, check(t, &probe.Prober{}, probe.Probe{Kind: probe.GRPC, Addr: addr}), "UNIMPLEMENTED", "register grpc.health.v1.Health")
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	unwell(t, check(t, &probe.Prober{}, probe.Probe{Kind: probe.GRPC, Addr: plain.Listener.Addr().String()}), "", "")
	web := h2cServer(t, http.NotFoundHandler())
	unwell(t, check(t, &probe.Prober{}, probe.Probe{Kind: probe.GRPC, Addr: web}), "not a gRPC answer: 404", "gRPC server listens")
	unwell(t, check(t, &probe.Prober{}, probe.Probe{Kind: probe.GRPC, Addr: unused(t)}), "connection refused", "")
}

func TestExec(t *testing.T) {
	s := process.New(process.Options{})
	defer s.Close()
	p := probe.Prober{Starter: s}
	sh := func(script string) probe.Probe {
		return probe.Probe{Kind: probe.Exec, Argv: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}}
	}
	well(t, check(t, &p, sh("exit 0")))
	unwell(t, check(t, &p, sh("echo trying; echo the queue is full >&2; exit 3")), "exited with code 3: the queue is full", "")
	unwell(t, check(t, &p, sh("kill -TERM $$")), "signal 15", "")
	unwell(t, check(t, &p, probe.Probe{Kind: probe.Exec, Argv: []string{"/no/such/probe"}}), "no such program", "Build it")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Check(ctx, sh("sleep 60")); !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("a probe that hangs gave %v", err)
	}
	if err := check(t, &probe.Prober{}, sh("exit 0")); !fault.Is(err, fault.Invalid) {
		t.Errorf("exec without a starter gave %v, want invalid", err)
	}
}

func TestOtherKinds(t *testing.T) {
	well(t, check(t, &probe.Prober{}, probe.Probe{}))
	well(t, check(t, &probe.Prober{}, probe.Probe{Kind: probe.None}))
	if err := check(t, &probe.Prober{}, probe.Probe{Kind: "ping"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("an unknown kind gave %v, want invalid", err)
	}
}

// h2cServer serves HTTP/2 without TLS, and nothing else.
func h2cServer(t *testing.T, h http.Handler) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, Protocols: new(http.Protocols)}
	s.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return l.Addr().String()
}

// unused gives an address on which nobody listens: its port is held.
func unused(t *testing.T) string {
	t.Helper()
	p, err := process.HoldPort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Release)
	return fmt.Sprintf("127.0.0.1:%d", p.Number())
}
