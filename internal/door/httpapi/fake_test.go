package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/op"
	"stoa/client"
	"stoa/internal/door/httpapi"
	"stoa/internal/kernel/host"
)

type getIn struct {
	Ref   core.Ref      `json:"ref" arg:"KIND/NAME,optional"`
	Limit int           `json:"limit,omitempty" flag:"limit"`
	Since core.Duration `json:"since,omitempty" flag:"since"`
}

type getOut struct {
	Ref    core.Ref  `json:"ref"`
	Limit  int       `json:"limit"`
	Caller op.Caller `json:"caller"`
}

type applyIn struct {
	Source    string          `json:"source"`
	Documents []core.Document `json:"documents"`
	Note      note            `json:"note"`
}

type note struct {
	Author string `json:"author,omitempty"`
}

type applyOut struct {
	Revision uint64 `json:"revision"`
	Size     int    `json:"size"`
}

type countIn struct {
	To   int  `json:"to,omitempty"`
	Fail bool `json:"fail,omitempty"`
	Hang bool `json:"hang,omitempty"`
}

type countOut struct {
	N int `json:"n"`
}

var (
	getOp    = op.Op[getIn, getOut]{Name: "get", Help: "show one", Example: "stoa get service/orders"}
	applyOp  = op.Op[applyIn, applyOut]{Name: "apply", Help: "apply documents", Effect: op.Write}
	countOp  = op.Op[countIn, countOut]{Name: "count", Help: "count up"}
	resetOp  = op.Op[op.None, op.None]{Name: "service.reset", Help: "lose data", Effect: op.Destroy}
	brokenOp = op.Op[op.None, op.None]{Name: "broken", Help: "panic"}
	waitOp   = op.Op[op.None, op.None]{Name: "wait", Help: "run out of time", Effect: op.Write}
	checkOp  = op.Op[op.None, op.None]{Name: "check", Help: "work on files", Local: true}
)

// fake declares a handful of operations.
type fake struct {
	mu      sync.Mutex
	resets  int           // guarded by mu
	waiting chan struct{} // told when a hanging stream began
}

func (f *fake) Name() string { return "fake" }

func (f *fake) Declare(c *host.Catalog) {
	host.Handle(c, getOp, func(ctx context.Context, in getIn) (getOut, error) {
		if in.Ref.Name == "missing" {
			return getOut{}, &fault.Error{Op: "store.get", Subject: in.Ref.String(), Kind: fault.NotFound, Hint: "See stoa get."}
		}
		return getOut{in.Ref, in.Limit, op.CallerOf(ctx)}, nil
	}, nil)
	host.Handle(c, applyOp, func(_ context.Context, in applyIn) (applyOut, error) {
		return applyOut{Revision: uint64(len(in.Documents)), Size: len(in.Source)}, nil
	}, nil)
	host.Follow(c, countOp, func(ctx context.Context, in countIn) (iter.Seq2[countOut, error], error) {
		if in.To < 0 {
			return nil, fault.New(fault.Invalid, "to", "want a number from 0")
		}
		return func(yield func(countOut, error) bool) {
			for n := range in.To {
				if !yield(countOut{n}, nil) {
					return
				}
			}
			if in.Hang {
				f.waiting <- struct{}{}
				<-ctx.Done()
			}
			if in.Fail {
				yield(countOut{}, fault.New(fault.Exhausted, "count", "no more numbers").WithHint("Count to less."))
			}
		}, nil
	}, nil)
	host.Handle(c, resetOp, func(context.Context, op.None) (op.None, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.resets++
		return op.None{}, nil
	}, nil)
	host.Handle(c, brokenOp, func(context.Context, op.None) (op.None, error) { panic("a broken invariant") }, nil)
	host.Handle(c, waitOp, func(context.Context, op.None) (op.None, error) {
		return op.None{}, fmt.Errorf("waiting for orders: %w", context.DeadlineExceeded)
	}, nil)
	host.Handle(c, checkOp, func(context.Context, op.None) (op.None, error) { return op.None{}, errors.New("served") }, nil)
	c.Endpoint("GET /metrics", "Prometheus exposition", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "stoa_up 1\n")
	}))
}

// A site is a server at work with its listeners.
type site struct {
	*fake
	server *httpapi.Server
	logins *httpapi.Logins
	socket string
	base   string // http://127.0.0.1:PORT
	stop   func() error
}

// start runs a server on a socket and a free port of loopback until the test ends.
func start(t *testing.T, change func(*httpapi.Options)) *site {
	t.Helper()
	s := &site{fake: &fake{waiting: make(chan struct{}, 16)}, logins: &httpapi.Logins{}, socket: filepath.Join(shortDir(t), "a.sock")}
	o := httpapi.Options{
		Catalog: host.Build(s.fake), Version: "test", Socket: s.socket, Data: "/data/of/the/test", Admin: "127.0.0.1:0",
		Logins: s.logins, Log: slog.New(slog.DiscardHandler), BodyLimit: map[string]int64{"apply": 16 << 20},
		Dash: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "dash "+r.URL.Path) }),
	}
	if change != nil {
		change(&o)
	}
	server, err := httpapi.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.server = server
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan struct{})
	var runErr error
	go func() {
		runErr = server.Run(ctx, func() { close(ready) })
		close(ended)
	}()
	s.stop = func() error { cancel(); <-ended; return runErr }
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("the server ended with: %v", err)
		}
	})
	select {
	case <-ready:
	case <-ended:
		t.Fatalf("the server did not start: %v", runErr)
	case <-time.After(30 * time.Second):
		t.Fatal("the server was not ready within 30 s")
	}
	if a := server.Addr(); a != "" {
		s.base = "http://" + a
	}
	return s
}

// client gives a client of the socket.
func (s *site) client(t *testing.T) *client.Client {
	t.Helper()
	c, err := client.New("unix:"+s.socket, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
