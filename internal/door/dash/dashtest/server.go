// Package dashtest is a stand-in for the admin API, so that the dashboard can be looked
// at and tested without a platform.
//
// It answers the operations that the page asks for with values of the real types of
// api, so that a field that changes there breaks the page's test. Methods, streams,
// errors and the session behave as those of httpapi do. Figures move with time and
// are otherwise always the same. Only tests and people who work on the page use it.
package dashtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"stoa/api/fault"
	"stoa/api/inject"
	"stoa/api/mesh"
	"stoa/api/telemetry"
	"stoa/api/workload"
	"stoa/internal/door/dash"
)

// Token is the login that opens a session, as often as it is used.
const Token = "let-me-in"

const cookie = "stoa_session_test"

// Server is one platform that is not there. Its methods may be called concurrently.
type Server struct {
	mux   *http.ServeMux
	began time.Time

	mu       sync.Mutex
	name     string          // of the system; guarded by mu
	sys      *system         // guarded by mu
	revision uint64          // guarded by mu
	stopped  map[string]bool // guarded by mu
	asked    []string        // operations that changed something, "restart orders"; guarded by mu
	broken   bool            // answers nothing sensible; guarded by mu
	expired  bool            // no session is valid; guarded by mu
}

// New gives a server that shows a system of Systems.
func New(name string) *Server {
	s := &Server{mux: http.NewServeMux(), began: time.Now().Add(-47 * time.Minute), stopped: map[string]bool{}, revision: 41}
	s.Show(name)
	s.mux.Handle("/", dash.Handler())
	s.mux.HandleFunc("POST /session", s.session)
	s.mux.HandleFunc("/v1/", s.operation)
	return s
}

// Show changes to another system, at a new revision.
func (s *Server) Show(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.name, s.sys = name, build(name)
	s.revision++
	clear(s.stopped)
}

// Break lets every call fail until it is mended; Expire ends all sessions.
func (s *Server) Break(on bool)  { s.mu.Lock(); s.broken = on; s.mu.Unlock() }
func (s *Server) Expire(on bool) { s.mu.Lock(); s.expired = on; s.mu.Unlock() }

// Asked gives what the page has asked to be changed.
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// ServeHTTP answers the page and its calls. /test/show?system=, /test/break, /test/mend,
// /test/expire and /test/asked steer it from another process.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/test/show":
		if name := r.URL.Query().Get("system"); slices.Contains(Systems(), name) {
			s.Show(name)
			return
		}
		http.Error(w, "systems: "+strings.Join(Systems(), " "), http.StatusBadRequest)
	case "/test/break", "/test/mend":
		s.Break(r.URL.Path == "/test/break")
	case "/test/expire":
		s.Expire(true)
	case "/test/asked":
		answer(w, s.Asked())
	default:
		s.mux.ServeHTTP(w, r)
	}
}

func (s *Server) session(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Token string `json:"token"`
	}
	if r.Header.Get("Content-Type") != "application/json" || json.NewDecoder(r.Body).Decode(&in) != nil || in.Token != Token {
		refuse(w, fault.New(fault.Denied, "session", "this login is not valid").WithHint("Run stoa dash for a new login link."), http.StatusUnauthorized)
		return
	}
	s.Expire(false)
	http.SetCookie(w, &http.Cookie{Name: cookie, Value: "yes", Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) operation(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	broken, expired := s.broken, s.expired
	s.mu.Unlock()
	if c, err := r.Cookie(cookie); err != nil || c.Value != "yes" || expired {
		refuse(w, fault.New(fault.Denied, "", "there is no session").WithHint("Run stoa dash for a new login link."), http.StatusUnauthorized)
		return
	}
	if broken {
		// As when the process is gone: the connection ends without an answer.
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			conn.Close()
		}
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/v1/")
	method := http.MethodGet
	if name == "restart" || name == "stop" || name == "start" {
		method = http.MethodPost
	}
	if r.Method != method {
		refuse(w, fault.New(fault.Invalid, name, "this operation is a %s, not a %s", method, r.Method), http.StatusMethodNotAllowed)
		return
	}
	now := time.Now()
	q := r.URL.Query()
	s.mu.Lock()
	sys := s.sys
	s.mu.Unlock()
	switch name {
	case "status":
		answer(w, s.status(now))
	case "map":
		answer(w, sys.graph)
	case "top":
		w.Header().Set("Content-Type", "application/x-ndjson")
		json.NewEncoder(w).Encode(sys.top(now))
	case "faults":
		answer(w, inject.Faults{Faults: sys.faults})
	case "traces":
		answer(w, telemetry.TracesOut{Traces: sys.traces(now, q.Get("service"), q.Get("errors") == "true")})
	case "trace":
		t, ok := sys.trace(q.Get("id"), now)
		if !ok {
			refuse(w, fault.New(fault.NotFound, "trace/"+q.Get("id"), "not kept, or not any more").WithHint("Run stoa traces for those that are kept."), 0)
			return
		}
		answer(w, t)
	case "why":
		answer(w, sys.why(strings.TrimPrefix(q.Get("what"), "service/"), now))
	case "logs":
		s.logs(w, r)
	case "restart", "stop", "start":
		s.change(w, r, name)
	default:
		refuse(w, fault.New(fault.NotFound, name, "there is no such operation"), 0)
	}
}

func (s *Server) status(now time.Time) workload.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return workload.Status{
		System: s.sys.graph.System, Revision: s.revision, Mode: "dev",
		Gateway: "http://127.0.0.1:8080", Admin: "http://127.0.0.1:7070",
		Services: s.sys.status(now, s.began, s.stopped),
		Unprotected: []string{
			"Another process of this machine can reach the port of an instance directly.",
			"Calls between services are not encrypted on this machine.",
		},
	}
}

func (s *Server) change(w http.ResponseWriter, r *http.Request, name string) {
	var in workload.ServiceIn
	if r.Header.Get("Content-Type") != "application/json" || json.NewDecoder(r.Body).Decode(&in) != nil {
		refuse(w, fault.New(fault.Invalid, name, "want a body of JSON"), 0)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := slices.ContainsFunc(s.sys.graph.Nodes, func(n mesh.Node) bool { return n.Name == in.Service })
	if !known {
		refuse(w, fault.New(fault.NotFound, "service/"+in.Service, "there is no such service"), 0)
		return
	}
	s.asked = append(s.asked, name+" "+in.Service)
	s.stopped[in.Service] = name == "stop"
	if ill := s.sys.state[in.Service]; name == "start" && ill.State == workload.StateStopped {
		delete(s.sys.state, in.Service)
	}
	answer(w, workload.Done{Message: in.Service + map[string]string{"restart": " is being replaced", "stop": " is stopped", "start": " is starting"}[name]})
}

// logs streams some lines of the past and then one every 400 ms.
func (s *Server) logs(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc, rc := json.NewEncoder(w), http.NewResponseController(w)
	send := func(n int, at time.Time) bool {
		s.mu.Lock()
		sys, broken := s.sys, s.broken
		s.mu.Unlock()
		l, ok := sys.line(n, at)
		if broken {
			return false
		}
		if !ok || q.Get("service") != "" && l.Service != q.Get("service") || !atLeast(l.Level, q.Get("level")) {
			return true
		}
		return enc.Encode(l) == nil && rc.Flush() == nil
	}
	n := int(time.Now().UnixMilli() / 400)
	for i := range 120 {
		if !send(n-120+i, time.UnixMilli(int64(n-120+i)*400)) {
			return
		}
	}
	rc.Flush()
	if q.Get("follow") != "true" {
		return
	}
	tick := time.NewTicker(400 * time.Millisecond)
	defer tick.Stop()
	for i := n; ; i++ {
		select {
		case <-r.Context().Done():
			return
		case t := <-tick.C:
			if !send(i, t) {
				return
			}
		}
	}
}

func atLeast(level, want string) bool {
	order := []string{"", "debug", "info", "warn", "error"}
	return slices.Index(order, level) >= slices.Index(order, want)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		panic(fmt.Sprintf("dashtest: %v cannot be encoded: %v", v, err))
	}
}

func refuse(w http.ResponseWriter, f *fault.Error, status int) {
	if status == 0 {
		status = f.Kind.HTTPStatus()
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(fault.Encode(f))
}
