package flow

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"time"

	"stoa/internal/engine/cache"
	"stoa/internal/engine/coalesce"
	"stoa/internal/engine/retry"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
	"stoa/internal/ground/meter"
)

// memories are the answers that a node has kept. They are made when the first route
// declares that it wants any, and outlive snapshots.
type memories struct {
	store  *cache.Store
	good   *cache.LastGood
	room   *cache.Room
	flight *coalesce.Group[flightKey, *cache.Entry]
}

// flightKey names what callers that join want, all but what the answer varies on.
type flightKey struct {
	cache.Key
	class string
}

// recalled makes memories when they are asked for first.
type recalled struct {
	once sync.Once
	m    *memories // set by once
}

func (r *recalled) get(meters *meter.Registry) *memories {
	r.once.Do(func() {
		m := &memories{store: cache.New(cache.Bounds{}), good: cache.NewLastGood(cache.Bounds{}),
			room: cache.NewRoom(cache.Bounds{}), flight: coalesce.New[flightKey, *cache.Entry]()}
		meters.GaugeFunc(meter.Desc{Name: "stoa_proxy_cache_bytes", Unit: "bytes", Help: "Answers in the cache."},
			func() float64 { _, n := m.store.Count(); return float64(n) })
		meters.GaugeFunc(meter.Desc{Name: "stoa_proxy_last_good_bytes", Unit: "bytes", Help: "Last good answers, which stand in for failures."},
			func() float64 { _, n := m.good.Count(); return float64(n) })
		r.m = m
	})
	return r.m
}

// memory is what a route declares of answers that are kept, shared, or stand in.
type memory struct {
	*memories
	class    string        // who may share an answer: the listener, which says who calls, and the rule; Recall adds the host as the service sees it
	edge     bool          // the key is the host that was asked for, else the upstream
	cache    *cache.Config // nil: no answer is used again
	coalesce time.Duration // 0: no callers are joined
	warm     time.Duration // last good answers are kept for this long; 0: none
	fallback fallback
}

// memory compiles what a policy says of kept answers, nil if nothing.
func (p *Plane) memory(l *Listener, r *route.Rule, s *snapshot.Snapshot, t *Table) *memory {
	c := s.Policies[r.Policy]
	if c.Cache == nil && c.Coalesce == 0 && c.Fallback == nil {
		return nil
	}
	m := &memory{memories: p.recalled.get(p.o.Meters), class: l.Name + "\x00" + r.Name, edge: l.Edge(), cache: c.Cache, coalesce: c.Coalesce}
	m.fallback.compile(c.Fallback, t)
	m.warm = m.fallback.cached
	return m
}

// Memo is what becomes of one request at a route that keeps answers. It belongs to the
// goroutine of its exchange. The order:
//
//	Recall -> Look -> (an answer, or) Join -> attempts, with Conditions
//	       -> Took at the head of an answer -> Write its body -> End
//	       -> or Failed, where a refusal would be the answer
//	       -> Close
type Memo struct {
	x      *Exchange
	r      *memory
	req    cache.Request
	look   cache.Look
	looked bool
	asked  int64 // ns since 1970: when the request was sent

	entry  *cache.Entry // whose body is being recorded
	body   *cache.Recording
	flight *coalesce.Flight[flightKey, *cache.Entry] // to be settled; nil: none
	store  bool                                      // what is recorded goes to the store,
	good   bool                                      // and to the last good ones

	answered int // the status of an answer in whose place something else is to stand; 0: none
}

// Remembers says whether Recall may give a Memo.
func (x *Exchange) Remembers() bool { return x.Route != nil && x.Route.memory != nil }

// Recall begins a Memo of x, nil if nothing of the route is for such a request. target is
// path and query as they came; fields are those that are sent on, but for what the proxy
// adds; body says that there is one. The strings are to last as long as x.
func (x *Exchange) Recall(target string, fields cache.Fields, body bool) *Memo {
	r := x.Route.memory
	safe := retry.Safe(x.Rec.Method)
	if !safe && r.cache == nil {
		return nil
	}
	host := x.Up.Name
	if r.edge {
		host = route.CleanHost(x.Rec.Host)
	}
	class := r.class
	if x.Up != x.Route.Up { // a split: versions do not answer for each other
		class += "\x00" + x.Up.Name
	}
	// A service may write the host that it was asked by into its answer. So an answer is for those
	// who spell it alike: port, dot and case. All spellings are one target to what invalidates it.
	// Instances of a caller inside differ in the port of their listener, and share all the same.
	if r.edge && x.Rec.Host != host || !r.edge && x.Up.Host == "" && !loopback(x.Rec.Host) {
		class += "\x00host\x00" + x.Rec.Host
	}
	return &Memo{x: x, r: r, asked: time.Now().UnixNano(), req: cache.Request{Method: x.Rec.Method,
		Key: cache.Key{Host: host, Target: target}, Class: class, Fields: fields, Body: body}}
}

// loopback says whether a host is this machine, as listeners for services are.
func loopback(host string) bool {
	host = route.CleanHost(host)
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// Look gives an answer that needs no service, or nil. refresh says that it is stale and
// that a newer one is to be asked for, aside.
func (m *Memo) Look() (g *Given, refresh bool) {
	c := m.r.cache
	if c == nil || !retry.Safe(m.req.Method) {
		return nil, false
	}
	now := time.Now().UnixNano()
	m.look, m.looked = m.r.store.Look(c, &m.req, now), true
	l := &m.look
	switch l.Use {
	case cache.Serve:
		outcome := "hit"
		if l.Why == cache.Stale {
			outcome = "stale"
		}
		m.count(outcome)
		m.status(cache.Status{Hit: true, Entry: l.Entry}, now)
		return m.from(l.Entry, now), l.Refresh
	case cache.Refuse:
		m.count("refused")
		m.status(cache.Status{Forwarded: l.Why, Detail: "only-if-cached"}, now)
		return given(504, "text/plain; charset=utf-8", "504: no stored answer, and no other is wanted\n", m.req.Method == "HEAD"), false
	}
	return nil, false
}

// Conditions appends to dst what the request that is sent on is to have in the place of its
// own If-None-Match and If-Modified-Since; Validates says whether it is to.
func (m *Memo) Conditions(dst cache.Fields) cache.Fields {
	if !m.looked {
		return dst
	}
	return m.look.Conditions(dst)
}

// Validates says whether Conditions replace those of the caller.
func (m *Memo) Validates() bool { return m.looked && len(m.look.Conditions(nil)) > 0 }

// Joins says whether the request may share one answer with others: then Join is to be asked.
func (m *Memo) Joins() bool {
	return m.r.coalesce > 0 && m.req.Method == "GET" && !m.req.Body && (!m.looked || m.look.Use != cache.Bypass)
}

// Join waits for the answer that another caller asks for already, if there is one, and gives
// it. Else the request is made within the context that it gives, which outlives the caller
// as long as others wait for the answer. The error is ctx's. Close must follow.
func (m *Memo) Join(ctx context.Context) (*Given, context.Context, error) {
	turn, err := m.r.flight.Enter(ctx, coalesce.Config{Wait: m.r.coalesce}, flightKey{m.req.Key, m.req.Class},
		func(e *cache.Entry) bool { return e.Fits(&m.req) })
	switch {
	case err != nil:
		return nil, nil, err
	case turn.Role == coalesce.Shared:
		now := time.Now().UnixNano()
		m.count("shared")
		m.status(cache.Status{Forwarded: cache.URIMiss, Entry: turn.Value, Collapsed: true}, now)
		return m.from(turn.Value, now), nil, nil
	case turn.Role == coalesce.Lead:
		m.flight = turn.Flight
		return nil, turn.Flight.Context(), nil
	case turn.Late:
		m.count("late")
	}
	return nil, ctx, nil
}

// Verdict is what follows from the head of an answer. The zero Verdict: it is relayed, and
// nothing of its body is wanted.
type Verdict struct {
	Give    *Given   // instead of the answer
	Again   bool     // another attempt is made; the place on the endpoint has been given back
	Refusal *Refusal // the answer is a failure in whose place another is asked, see Failed
	Record  bool     // its body is to be written to Write as it passes, and then End be called
	Collect bool     // and all of it before the caller gets any: others wait for it
}

// Took judges the head of an answer of the service that no other attempt follows.
func (m *Memo) Took(status int, fields cache.Fields) Verdict {
	x, r := m.x, m.r
	now := time.Now().UnixNano()
	a := cache.Answer{Status: status, Fields: fields, Asked: m.asked, Came: now}
	if !retry.Safe(m.req.Method) {
		r.store.Invalidate(&m.req, &a, now, func(k cache.Key) { r.flight.Forget(flightKey{k, m.req.Class}) })
		return Verdict{}
	}
	if m.looked {
		t := r.store.Take(r.cache, &m.req, &m.look, &a)
		s := cache.Status{Forwarded: m.look.Why, Code: status, Entry: t.Entry}
		switch t.Do {
		case cache.Answered:
			if t.Why == cache.Stale {
				m.unshared()
				m.answered, x.Rec.Status = status, status
				return Verdict{Give: m.standIn(t.Entry, now, "stale-if-error")}
			}
			m.count("revalidated")
			m.status(s, now)
			m.share(t.Entry, status)
			return Verdict{Give: m.from(t.Entry, now)}
		case cache.Again:
			m.asked = now
			x.giveBack()
			return Verdict{Again: true}
		case cache.Record:
			m.store = true
		}
		m.count("forwarded")
		s.Code, s.Stored = 0, m.store
		m.status(s, now)
	}
	if failure(status) {
		return m.failing(status)
	}
	if r.warm > 0 {
		m.good = r.memories.good.Wants(&m.req, &a, r.warm) == cache.OK
	}
	v := Verdict{}
	if m.flight != nil {
		switch {
		case status >= 500 || status == 429:
			m.unshared()
		case cache.Sharable(&m.req, &a) != cache.OK:
			m.flight.Decline()
		default:
			v.Collect = true
		}
	}
	if m.store || m.good || v.Collect {
		m.entry = cache.NewEntry(&m.req, &a)
		m.body = r.room.Record(m.entry)
		v.Record = m.body != nil
		if v.Collect && !v.Record {
			v.Collect = false
			m.flight.Decline()
		}
	}
	return v
}

// Write takes a part of the body. Once it has returned false nothing more of it is wanted.
func (m *Memo) Write(p []byte) bool {
	if m.body == nil {
		return false
	}
	if m.body.Write(p) {
		return true
	}
	m.drop()
	return false
}

// Held is what of the body was written so far.
func (m *Memo) Held() []byte { return m.body.Bytes() }

func (m *Memo) drop() {
	m.body.Drop()
	m.body = nil
	if m.flight != nil {
		m.flight.Decline()
	}
}

// End is called when the body has ended; whole says that it did as its framing says, and
// without trailers. What was recorded is kept, and shared with those who wait.
func (m *Memo) End(whole bool) {
	if m.body == nil {
		return
	}
	body := m.body
	m.body = nil
	if !whole {
		body.Drop()
		return
	}
	e := body.Finish()
	if e == nil {
		return
	}
	if m.store {
		m.r.store.Put(e)
	}
	if m.good {
		m.r.good.Keep(e)
	}
	m.share(e, e.Status())
}

// share gives e to those who wait for it.
func (m *Memo) share(e *cache.Entry, status int) {
	if m.flight == nil {
		return
	}
	if status >= 200 && status <= 299 || status == 304 {
		m.flight.Share(e)
	}
}

// unshared lets others go on: there is no answer to be shared.
func (m *Memo) unshared() {
	if m.flight != nil {
		m.flight.Fail()
	}
}

// Close ends m, whatever became of it. It may be called again, and on nil.
func (m *Memo) Close() {
	if m == nil {
		return
	}
	m.body.Drop()
	m.body = nil
	if m.flight != nil {
		m.flight.End()
		m.flight = nil
	}
}

// from is e as the answer to the request.
func (m *Memo) from(e *cache.Entry, now int64) *Given {
	g := &Given{}
	g.Status, g.Fields, g.Body = e.Answer(nil, &m.req, now)
	return g
}

// status marks the answer with a Cache-Status.
func (m *Memo) status(s cache.Status, now int64) {
	m.x.Mark("Cache-Status", string(s.Append(nil, now)))
}

func (m *Memo) count(outcome string) { m.x.P.marks.cached.With(m.x.Rec.Callee, outcome).Add(1) }

// Refresh gives how a Memo is made for the request, of an exchange of its own, that asks for
// a newer answer than the stale one that Look gave. It needs nothing of m any more.
func (m *Memo) Refresh() func(*Exchange) *Memo {
	r := &memory{memories: m.r.memories, class: m.r.class, cache: m.r.cache, warm: m.r.warm}
	n := Memo{r: r, look: m.look, looked: true, req: cache.Request{Method: "GET", Class: strings.Clone(m.req.Class),
		Key: cache.Key{Host: strings.Clone(m.req.Key.Host), Target: strings.Clone(m.req.Key.Target)}}}
	for _, f := range m.req.Fields {
		if !strings.EqualFold(f.Name, "If-None-Match") && !strings.EqualFold(f.Name, "If-Modified-Since") {
			n.req.Fields = append(n.req.Fields, cache.Field{Name: strings.Clone(f.Name), Value: strings.Clone(f.Value)})
		}
	}
	return func(x *Exchange) *Memo {
		n.x, n.asked = x, time.Now().UnixNano()
		return &n
	}
}
