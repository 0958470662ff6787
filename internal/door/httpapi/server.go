package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"stoa/api/fault"
	"stoa/api/op"
	"stoa/internal/ground/life"
	"stoa/internal/kernel/host"
)

// Options tell what a Server serves and where. Catalog is needed; the zero value of
// the rest serves nothing, on no listener.
type Options struct {
	Catalog *host.Catalog
	Version string                                    // of the program, for /openapi.json
	Doc     func(t reflect.Type, field string) string // docs of types and fields for /openapi.json; may be nil

	Socket string // path of the Unix socket, see client.SocketPath; "" means none
	Data   string // the data folder; written beside the socket for whoever looks for a platform; "" means no such file

	Admin     string // loopback address of the TCP listener: "127.0.0.1:7070"; "" means none
	AdminFree bool   // a port that is taken is replaced by a free one

	Logins *Logins      // nil means fresh ones, which nobody can mint
	Dash   http.Handler // the dashboard's own files, shown without a session; nil means none
	Open   []string     // patterns of endpoints that TCP may read without a session: "GET /metrics"

	BodyLimit map[string]int64 // longest request body of an operation in bytes, where 8 MiB are too few
	Record    func(Record)     // told of each operation after it ended, concurrently; may be nil
	Log       *slog.Logger     // nil means slog.Default()
}

// Bounds of a connection.
const (
	headTime   = 5 * time.Second  // for a request's head to arrive
	idleTime   = 60 * time.Second // between the requests of a connection
	endpointIn = 60 * time.Second // for a browser's request to an endpoint to arrive
	maxHead    = 32 << 10         // bytes of a request's head
	maxConns   = 512              // connections of one listener; more wait in the kernel's queue
	stopTime   = 5 * time.Second  // for calls at work to end when the server stops
)

// A Server serves the operation table on its listeners while it runs.
type Server struct {
	o     Options
	api   *api
	stop  chan struct{}
	once  sync.Once
	admin atomic.Pointer[string] // address of the TCP listener once it listens
}

// New checks o and gives a server that listens once it runs.
func New(o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Logins == nil {
		o.Logins = &Logins{}
	}
	if o.Admin != "" {
		if err := checkLoopback(o.Admin); err != nil {
			return nil, err
		}
	}
	s := &Server{o: o, stop: make(chan struct{})}
	s.api = newAPI(o, s.stop)
	return s, nil
}

// checkLoopback refuses an address that other machines reach: the listener speaks no TLS.
func checkLoopback(addr string) error {
	hostname, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fault.New(fault.Invalid, addr, "want host:port, as in 127.0.0.1:7070")
	}
	ip, err := netip.ParseAddr(hostname)
	if hostname != "localhost" && (err != nil || !ip.IsLoopback()) {
		return fault.New(fault.Invalid, addr, "the admin API speaks no TLS and listens on loopback only").
			WithHint("Use 127.0.0.1 and reach it from elsewhere through ssh -L 7070:127.0.0.1:7070 HOST.")
	}
	return nil
}

// Part gives the server's life.
func (s *Server) Part() life.Part { return life.Part{Name: "admin API", Run: s.Run} }

// Addr gives the address of the TCP listener, "" while there is none.
func (s *Server) Addr() string {
	if a := s.admin.Load(); a != nil {
		return *a
	}
	return ""
}

// Login gives a link that logs a browser in once, within life (see Logins.Mint), or ""
// while no TCP listener is there. The token is in the fragment, which no browser sends.
func (s *Server) Login(life time.Duration) string {
	addr := s.Addr()
	if addr == "" {
		return ""
	}
	return "http://" + addr + "/#login=" + s.o.Logins.Mint(life)
}

// Run serves until ctx is cancelled. A server runs once.
func (s *Server) Run(ctx context.Context, ready func()) error {
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			l.Close() // most are closed by their server already
		}
	}()
	var servers []*http.Server
	base, cancel := context.WithCancel(context.WithoutCancel(ctx)) // calls at work may end after ctx
	defer cancel()
	if s.o.Socket != "" {
		l, err := listenUnix(s.o.Socket, s.o.Data)
		if err != nil {
			return err
		}
		listeners = append(listeners, bounded(l, maxConns))
		servers = append(servers, s.server(base, s.unixHandler()))
	}
	if s.o.Admin != "" {
		l, err := s.listenTCP(ctx)
		if err != nil {
			return err
		}
		addr := l.Addr().String()
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			l.Close()
			return fmt.Errorf("listener address %s: %w", addr, err)
		}
		s.admin.Store(&addr)
		listeners = append(listeners, bounded(l, maxConns))
		servers = append(servers, s.server(base, s.tcpHandler(port)))
	}

	ended := make(chan error, len(servers)) // one each: none blocks
	for i, srv := range servers {
		go func() { ended <- srv.Serve(listeners[i]) }()
	}
	ready()
	var first error
	running := len(servers)
	select {
	case <-ctx.Done():
	case first = <-ended:
		running--
	}
	s.once.Do(func() { close(s.stop) })
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer done()
	var wg sync.WaitGroup
	for _, srv := range servers {
		wg.Go(func() {
			if srv.Shutdown(grace) != nil { // calls are at work yet: end them
				cancel()
				last, done := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
				defer done()
				if srv.Shutdown(last) != nil {
					srv.Close()
				}
			}
		})
	}
	wg.Wait()
	for range running {
		<-ended
	}
	if first != nil && !errors.Is(first, http.ErrServerClosed) {
		return first
	}
	return nil
}

func (s *Server) listenTCP(ctx context.Context) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.o.Admin)
	if errors.Is(err, syscall.EADDRINUSE) && s.o.AdminFree {
		hostname, _, _ := net.SplitHostPort(s.o.Admin) // checked by New
		l, err = lc.Listen(ctx, "tcp", net.JoinHostPort(hostname, "0"))
	}
	if err != nil {
		f := &fault.Error{Op: "httpapi.listen", Subject: s.o.Admin, Kind: fault.Unavailable, Err: err,
			Hint: "Name another address with --admin or STOA_ADMIN."}
		if errors.Is(err, syscall.EADDRINUSE) {
			f.Err = errors.New("another program listens there already")
		}
		return nil, f
	}
	return l, nil
}

func (s *Server) server(base context.Context, h http.Handler) *http.Server {
	return &http.Server{
		Handler:           secure(h),
		ReadHeaderTimeout: headTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHead,
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if p, ok := unwrap(c).(*peerConn); ok {
				return op.WithCaller(ctx, p.caller)
			}
			return ctx
		},
		ErrorLog: slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug), // broken requests of others are no error of ours
	}
}

// unixHandler serves whoever the socket let in.
func (s *Server) unixHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/", s.api)
	mux.HandleFunc("GET /openapi.json", s.openapi)
	for _, e := range s.o.Catalog.Endpoints {
		mux.Handle(e.Pattern, e.Handler) // without bodyIn: an upload of our own user takes the time it takes
	}
	mux.HandleFunc("/", nothing)
	return mux
}

// tcpHandler serves browsers.
func (s *Server) tcpHandler(port string) http.Handler {
	f := newFence(port, s.o.Logins)
	mux := http.NewServeMux()
	mux.Handle("/v1/", f.loggedIn(s.api))
	mux.HandleFunc("/session", f.session)
	mux.Handle("GET /openapi.json", f.loggedIn(http.HandlerFunc(s.openapi)))
	for _, e := range s.o.Catalog.Endpoints {
		h := bodyIn(e.Handler)
		if !slices.Contains(s.o.Open, e.Pattern) {
			h = f.loggedIn(h)
		}
		mux.Handle(e.Pattern, h)
	}
	if s.o.Dash != nil {
		mux.Handle("/", bodyIn(s.o.Dash))
	} else {
		mux.HandleFunc("/", nothing)
	}
	page := func(r *http.Request) bool {
		_, pattern := mux.Handler(r)
		return pattern == "/"
	}
	return f.ours(page, mux)
}

func nothing(w http.ResponseWriter, r *http.Request) {
	fail(w, fault.New(fault.NotFound, r.URL.Path, "nothing is here").WithHint("See /openapi.json for what is."), 0)
}

// bodyIn bounds the time in which a request with a body arrives.
func bodyIn(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(endpointIn)) // a test's writer has none
		}
		h.ServeHTTP(w, r)
	})
}
