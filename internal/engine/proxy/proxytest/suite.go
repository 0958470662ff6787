// Package proxytest is the conformance suite of the data plane: what every engine
// behind engine/proxy promises, as tests over real sockets.
//
// Run takes a way to open an engine and runs every test against it. Services are real
// servers of net/http, or hand-written ones where a server must misbehave. Time is
// real, so tests wait on conditions with wide deadlines.
package proxytest

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/inject"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
	"stoa/internal/ground/meter"
)

// Engine is what a data plane offers; see engine/proxy for what each promises.
type Engine interface {
	Swap(*snapshot.Snapshot) error
	SetEndpoints(upstream string, eps []snapshot.Endpoint)
	Close(upstream string, why snapshot.Closed)
	Drained(ctx context.Context, endpointID string) error
	Bind(name string) (addr string, release func(), err error)
	Run(ctx context.Context, ready func()) error
	SetFaults([]inject.Fault)
	FaultHits() map[string]inject.Hits
	SetSecret([]byte)
	Look()
	Call(ctx context.Context, caller, upstream string, req *http.Request) (*http.Response, proxy.Outcome, error)
	Gateways() []proxy.Gateway
	GatewaysChanged() <-chan struct{}
	CloseGateways(ctx context.Context)
}

var _ Engine = (*proxy.Proxy)(nil)

// patience bounds every wait of the suite.
const patience = 30 * time.Second

// Run runs the suite.
func Run(t *testing.T, open func(proxy.Options) Engine) {
	for _, c := range []struct {
		name string
		test func(*testing.T, func(proxy.Options) Engine)
	}{
		{"bytes", testBytes},
		{"headers", testHeaders},
		{"stream", testStreams},
		{"protocol", testProtocol},
		{"grpc", testGRPC},
		{"http2", testHTTP2},
		{"upgrade", testUpgrade},
		{"tcp", testTCP},
		{"refusals", testRefusals},
		{"repeat", testRepeat},
		{"replay", testReplay},
		{"hold", testHold},
		{"closed", testClosed},
		{"cancel", testCancel},
		{"change", testChange},
		{"call", testCall},
		{"site", testSite},
		{"gateway", testGateway},
		{"gateways close", testGatewaysClose},
		{"bounds", testBounds},
		{"origin", testOrigin},
		{"secure", testSecure},
		{"browsers", testBrowsers},
		{"faults", testFaults},
		{"fallback", testFallback},
		{"cache", testCache},
		{"coalesce", testCoalesce},
		{"mirror", testMirror},
		{"hedge", testHedge},
		{"retry", testRetry},
		{"balance", testBalance},
		{"outliers", testOutliers},
		{"breaker", testBreaker},
		{"haste", testHaste},
		{"deadlines", testDeadlines},
		{"follow", testFollow},
		{"faults over", testFaultsOver},
		{"nobody picks", testNobodyPicks},
		{"late", testLate},
		{"seen", testSeen},
		{"edge repeats", testEdgeRepeats},
		{"refused in time", testRefusedInTime},
		{"stuck", testStuck},
		{"limits", testLimits},
		{"rates", testRates},
		{"split", testSplit},
		{"edits", testEdits},
		{"sticky", testSticky},
		{"records", testRecords},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open) })
	}
}

// bench is an engine with one listener, "web>svc", that leads to upstream svc, and one
// from outside, "gateway".
type bench struct {
	Engine
	t      *testing.T
	meters *meter.Registry
	mu     sync.Mutex
	hops   []hop.Record // guarded by mu
	more   chan struct{}
	mesh   string // address of web>svc
	edge   string // address of a socket of the gateway listener
}

// shape changes the usual snapshot.
type shape func(*snapshot.Snapshot)

func protocol(p snapshot.Protocol) shape {
	return func(s *snapshot.Snapshot) {
		u := s.Upstreams["svc"]
		u.Protocol = p
		s.Upstreams["svc"] = u
	}
}

func upstream(change func(*snapshot.Upstream)) shape {
	return func(s *snapshot.Snapshot) {
		u := s.Upstreams["svc"]
		change(&u)
		s.Upstreams["svc"] = u
	}
}

func rules(rs ...route.Rule) shape {
	return func(s *snapshot.Snapshot) {
		for _, name := range []string{"web>svc", "gateway"} {
			l := s.Listeners[name]
			l.Routes = rs
			s.Listeners[name] = l
		}
	}
}

func usual(shapes ...shape) *snapshot.Snapshot {
	all := []route.Rule{{Name: "all", Path: "/", Upstream: "svc"}}
	s := &snapshot.Snapshot{
		Version: snapshot.Version{Revision: 1, Serial: 1},
		Listeners: map[string]snapshot.Listener{
			"web>svc": {Caller: "web", Protocol: snapshot.HTTP, Routes: all},
			"gateway": {Protocol: snapshot.HTTP, Routes: all},
		},
		Upstreams: map[string]snapshot.Upstream{"svc": {Protocol: snapshot.HTTP1}},
	}
	for _, f := range shapes {
		f(s)
	}
	return s
}

func newBench(t *testing.T, open func(proxy.Options) Engine, shapes ...shape) *bench {
	t.Helper()
	return tunedBench(t, open, proxy.Options{Candid: true}, shapes...)
}

// tunedBench is a bench whose engine has options of its own.
func tunedBench(t *testing.T, open func(proxy.Options) Engine, o proxy.Options, shapes ...shape) *bench {
	t.Helper()
	b := &bench{t: t, meters: meter.New(), more: make(chan struct{}, 1)}
	o.Meters, o.Drain = b.meters, 5*time.Second
	o.Sink = hop.SinkFunc(func(r *hop.Record) {
		b.mu.Lock()
		b.hops = append(b.hops, r.Clone())
		b.mu.Unlock()
		select {
		case b.more <- struct{}{}:
		default:
		}
	})
	b.Engine = open(o)
	if err := b.Swap(usual(shapes...)); err != nil {
		t.Fatal(err)
	}
	b.mesh, b.edge = b.bind("web>svc"), b.bind("gateway")
	return b
}

func (b *bench) bind(name string) string {
	b.t.Helper()
	addr, release, err := b.Bind(name)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(release)
	return addr
}

// serve starts a service and makes it the one endpoint of svc.
func (b *bench) serve(h http.HandlerFunc) *httptest.Server {
	s := server(b.t, h)
	b.SetEndpoints("svc", []snapshot.Endpoint{endpoint("svc-1", s)})
	return s
}

func endpoint(id string, s *httptest.Server) snapshot.Endpoint {
	return snapshot.Endpoint{ID: id, Address: s.Listener.Addr().String(), Instance: id}
}

// server starts a service that speaks HTTP/1.1 and HTTP/2 in clear text.
func server(t *testing.T, h http.HandlerFunc) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

// client makes a client of one protocol that keeps nothing to itself: no redirects, no
// decompression.
func client(t *testing.T, h2 bool) *http.Client {
	tr := &http.Transport{DisableCompression: true, Protocols: new(http.Protocols), MaxIdleConnsPerHost: 64}
	tr.Protocols.SetHTTP1(!h2)
	tr.Protocols.SetUnencryptedHTTP2(h2)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// waitHop waits for a record that fits.
func (b *bench) waitHop(what string, fits func(hop.Record) bool) hop.Record {
	b.t.Helper()
	deadline := time.After(patience)
	for {
		b.mu.Lock()
		for _, r := range b.hops {
			if fits(r) {
				b.mu.Unlock()
				return r
			}
		}
		n := len(b.hops)
		b.mu.Unlock()
		select {
		case <-b.more:
		case <-deadline:
			b.t.Fatalf("no record of %s among %d", what, n)
		}
	}
}

// raw sends bytes to addr, half-closes if asked, and reads to the end.
func raw(t *testing.T, addr, send string) string {
	t.Helper()
	c := dial(t, addr)
	io.WriteString(c, send)
	b, _ := io.ReadAll(c)
	return string(b)
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return c
}

func get(t *testing.T, c *http.Client, url string) (int, string, http.Header) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("GET %s: body: %v", url, err)
	}
	return resp.StatusCode, string(b), resp.Header
}

// eventually waits until claim holds.
func eventually(t *testing.T, what string, claim func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !claim(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// statusOf reads the status of a raw answer, 0 if it has none.
func statusOf(answer string) int {
	f := strings.Fields(answer)
	if len(f) < 2 || !strings.HasPrefix(f[0], "HTTP/") {
		return 0
	}
	n, _ := strconv.Atoi(f[1])
	return n
}
