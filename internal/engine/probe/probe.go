// Package probe finds out whether an instance is well, and decides what follows.
//
// A Probe describes one question (GET this path, connect there, ask this health
// service, run this program) and a Prober asks it once. Health is the machine that
// turns answers into phases, Restarts the one that turns deaths into waits. Both are
// pure: state, event and time in, state out. The caller owns the loop:
//
//	health = health.After(plan, probe.Ready, reason, now)
//	switch health.Phase { ... }            // balance, take out, replace
//	which, at := health.Due(plan)          // sleep until at, ask again
//
// A probe uses a connection of its own, since accepting one is part of what is asked,
// and reads little. It goes to the instance directly and passes no proxy, so it leaves
// no trace in telemetry.
package probe

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"stoa/api/fault"
	"stoa/internal/engine/process"
)

// Kind says how to ask.
type Kind string

// The kinds.
const (
	HTTP Kind = "http" // GET Path: a status of 2xx or 3xx is well; redirects are not followed
	GRPC Kind = "grpc" // grpc.health.v1.Health/Check of Service: SERVING is well
	TCP  Kind = "tcp"  // a connection to Addr is well
	Exec Kind = "exec" // Argv is run: exit code 0 is well
	None Kind = "none" // always well; the caller waits for AliveFor
)

// AliveFor is how long an instance that cannot be asked must live to count as ready.
const AliveFor = 2 * time.Second

// Probe is one question. The zero Probe is of kind none.
type Probe struct {
	Kind Kind

	Addr    string // host:port; HTTP, GRPC, TCP
	Path    string // HTTP, with query if any; empty means /
	Service string // GRPC; empty asks for the server as a whole
	TLS     bool   // HTTP, GRPC: https, as of an external origin
	H2C     bool   // HTTP: the server speaks HTTP/2 without TLS and no HTTP/1.1

	Argv []string // Exec
	Dir  string   // Exec
	Env  []string // Exec; complete, as the instance's own
	Mark string   // Exec; the instance's own, so that a sweep finds a stray one
}

// String gives the question as a person would put it: "GET http://127.0.0.1:80/readyz".
func (p Probe) String() string {
	scheme := map[bool]string{false: "http", true: "https"}[p.TLS]
	switch p.Kind {
	case HTTP:
		return "GET " + scheme + "://" + p.Addr + p.path()
	case GRPC:
		if p.Service != "" {
			return "health of " + p.Service + " at " + p.Addr
		}
		return "health of " + p.Addr
	case TCP:
		return "connect to " + p.Addr
	case Exec:
		return strings.Join(p.Argv, " ")
	}
	return "none"
}

func (p Probe) path() string {
	if !strings.HasPrefix(p.Path, "/") {
		return "/" + p.Path
	}
	return p.Path
}

// Prober asks. The zero Prober asks everything but Exec. It may be used concurrently.
type Prober struct {
	Dial    func(ctx context.Context, network, addr string) (net.Conn, error) // nil means net.Dialer's
	TLS     *tls.Config                                                       // nil means the system's roots
	Starter *process.Starter                                                  // for Exec

	once             sync.Once // sets what follows
	dial             func(ctx context.Context, network, addr string) (net.Conn, error)
	h1, h2, h2c, web *http.Transport // by protocol: HTTP/1.1, HTTP/2 on TLS, HTTP/2 without, whatever TLS agrees on
}

// The most of an answer that is read, and of its text that is told.
const (
	maxHeader = 64 << 10
	maxBody   = 64 << 10
	maxTold   = 200
)

// Check asks once and gives nil if the instance is well, else an Unavailable fault with
// the reason, or Invalid if the question cannot be asked. ctx bounds the wait: give it
// the plan's Timeout.
func (p *Prober) Check(ctx context.Context, q Probe) error {
	p.once.Do(p.open)
	var err error
	switch q.Kind {
	case HTTP:
		err = p.http(ctx, q)
	case GRPC:
		err = p.grpc(ctx, q)
	case TCP:
		err = p.tcp(ctx, q)
	case Exec:
		err = p.exec(ctx, q)
	case None, "":
		return nil
	default:
		return fault.New(fault.Invalid, string(q.Kind), "is no kind of probe").
			WithHint("Use one of http, grpc, tcp, exec, none.")
	}
	if err == nil || fault.Is(err, fault.Invalid) {
		return err
	}
	if ctx.Err() == context.DeadlineExceeded {
		err = fmt.Errorf("no answer in time")
	}
	return &fault.Error{Op: "probe.check", Subject: q.String(), Kind: fault.Unavailable, Err: err, Hint: fault.HintOf(err)}
}

func (p *Prober) open() {
	p.dial = p.Dial
	if p.dial == nil {
		p.dial = (&net.Dialer{}).DialContext
	}
	transport := func(set func(*http.Protocols)) *http.Transport {
		var protocols http.Protocols
		set(&protocols)
		return &http.Transport{
			DialContext: p.dial, TLSClientConfig: p.TLS.Clone(), Protocols: &protocols,
			DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
		}
	}
	p.h1 = transport(func(v *http.Protocols) { v.SetHTTP1(true) })
	p.h2 = transport(func(v *http.Protocols) { v.SetHTTP2(true) })
	p.h2c = transport(func(v *http.Protocols) { v.SetUnencryptedHTTP2(true) })
	p.web = transport(func(v *http.Protocols) { v.SetHTTP1(true); v.SetHTTP2(true) })
}

func (p *Prober) tcp(ctx context.Context, q Probe) error {
	c, err := p.dial(ctx, "tcp", q.Addr)
	if err != nil {
		return err
	}
	return c.Close()
}

func (p *Prober) http(ctx context.Context, q Probe) error {
	scheme, transport := "http", p.h1
	switch {
	case q.TLS:
		scheme, transport = "https", p.web
	case q.H2C:
		transport = p.h2c
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+q.Addr+q.path(), nil)
	if err != nil {
		return fault.New(fault.Invalid, q.Path, "is no path of a URL: %v", err).WithHint("Correct the path under health.")
	}
	req.Header.Set("User-Agent", "stoa-probe")
	resp, err := transport.RoundTrip(req) // follows no redirect
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if resp.StatusCode >= 200 && resp.StatusCode < 400 {
		return nil
	}
	e := fault.New(fault.Unavailable, resp.Status, "%s", cmp.Or(told(body), "no text"))
	if resp.StatusCode == http.StatusNotFound {
		return e.WithHint("See that the service answers at this path, or correct it under health.")
	}
	return e
}

// told is the first line of what a server said, fit to be shown.
func told(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	if len(line) > maxTold {
		line = line[:maxTold] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(line, "?"))
}

// exec runs the program as an instance of its own, so that it cannot outlive Stoa
// either, nor this question.
func (p *Prober) exec(ctx context.Context, q Probe) error {
	if p.Starter == nil {
		return fault.New(fault.Invalid, q.String(), "this prober starts no programs")
	}
	var out, complaint lastLine
	in, err := p.Starter.Start(ctx, process.Spec{
		Argv: q.Argv, Dir: q.Dir, Env: q.Env, Mark: q.Mark, Stdout: out.keep, Stderr: complaint.keep,
	})
	if err != nil {
		return err
	}
	select {
	case <-in.Done():
	case <-ctx.Done():
		_ = in.Stop(context.WithoutCancel(ctx), 0) // SIGKILL is soon over
		return ctx.Err()
	}
	if e := in.Exit(); e.Reason != process.Exited || e.Code != 0 {
		return fmt.Errorf("%v: %s", e, cmp.Or(complaint.String(), out.String(), "no output"))
	}
	return nil
}

// lastLine keeps the last line that is not empty.
type lastLine struct {
	mu   sync.Mutex
	line string // guarded by mu
}

func (l *lastLine) keep(line []byte, more bool) {
	if s := told(line); s != "" {
		l.mu.Lock()
		l.line = s
		l.mu.Unlock()
	}
}

func (l *lastLine) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.line
}
