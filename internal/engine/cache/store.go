package cache

import "time"

// Store is a shared cache by RFC 9111. Safe for concurrent use.
type Store struct{ shelf *shelf }

// New returns an empty store of the bounds.
func New(b Bounds) *Store { return &Store{newShelf(b, DefaultTotal)} }

// Count gives how many entries there are and their bytes, for meters.
func (s *Store) Count() (entries int, bytes int64) { return s.shelf.count() }

// A Use is what a look-up advises.
type Use uint8

// The uses; see the package comment for what follows each.
const (
	Forward Use = iota
	Bypass
	Serve
	Refuse
)

// Look is the outcome of a look-up.
type Look struct {
	Use     Use
	Why     Why    // it is not served from the store, or, Stale, that it is served stale
	Entry   *Entry // served; or, when forwarding, to be validated and to stand in for a failure
	Refresh bool   // served stale: make a GET of your own with the request's fields but its conditions, and Take its answer. Told to one caller at a time
	asked   asked
}

// refreshing is how long the one who was told to refresh has for it before another is told.
const refreshing = 10 * time.Second

// Look says what the store knows for r. It does not allocate.
func (s *Store) Look(c *Config, r *Request, now int64) Look {
	l := Look{asked: r.read()}
	q := &l.asked
	if q.why != OK {
		l.Use, l.Why = Bypass, q.why
		return l
	}
	e, known := s.shelf.find(r, q)
	if e == nil {
		l.Why = URIMiss
		if known {
			l.Why = VaryMiss
		}
	} else {
		l.Entry = e
		l.Use, l.Why, l.Refresh = e.decide(c, q, now)
	}
	switch {
	case l.Refresh && !e.claim(now):
		l.Refresh = false
	case l.Use == Forward && q.ctl.onlyIfCached:
		l.Use = Refuse
	}
	return l
}

// decide is the choice between an entry that fits and asking the service. RFC 9111, section 4.
func (e *Entry) decide(c *Config, q *asked, now int64) (use Use, why Why, refresh bool) {
	age, life := e.Age(now), e.lifetime
	if c.MaxAge > 0 {
		life = min(life, int64(c.MaxAge))
	}
	over := age - life // stale from 0 on
	if e.ctl.noCache {
		return Forward, Stale, false
	}
	if !c.IgnoreReload {
		switch {
		case q.ctl.noCache,
			q.ctl.maxAge >= 0 && age > q.ctl.maxAge*second,
			over < 0 && q.ctl.minFresh >= 0 && -over < q.ctl.minFresh*second:
			return Forward, Reload, false
		}
	}
	if over < 0 {
		return Serve, OK, false
	}
	if e.ctl.mustRevalidate || e.ctl.proxyRevalidate {
		return Forward, Stale, false
	}
	if over < e.window(e.ctl.staleWhileRevalidate, c.StaleWhileRevalidate) {
		return Serve, Stale, true
	}
	// s-maxage implies proxy-revalidate (section 5.2.2.10), for all but the stale use that
	// the answer itself allows.
	if e.ctl.sMaxAge < 0 && q.ctl.maxStale >= 0 && over <= q.ctl.maxStale*second {
		return Serve, Stale, false
	}
	return Forward, Stale, false
}

// window is how long past its lifetime an entry may be used: what the answer says, or else
// what the route does, unless the answer forbids stale use.
func (e *Entry) window(said int64, route time.Duration) int64 {
	switch {
	case e.ctl.noCache || e.ctl.mustRevalidate || e.ctl.proxyRevalidate:
		return 0
	case said >= 0:
		return said * second
	case e.ctl.sMaxAge >= 0:
		return 0
	}
	return int64(route)
}

func (e *Entry) claim(now int64) bool {
	until := e.refresh.Load()
	return until <= now && e.refresh.CompareAndSwap(until, now+int64(refreshing))
}

// Failed gives the entry that may stand in for a failure of the service to answer at all,
// or nil: stale-if-error. RFC 5861, section 4. A request may allow it as well as an answer;
// either has no say over an answer that forbids stale use.
func (l *Look) Failed(c *Config, now int64) *Entry {
	e := l.Entry
	if e == nil || l.Use != Forward || e.ctl.noCache {
		return nil
	}
	w := e.window(e.ctl.staleIfError, c.StaleIfError)
	if s := l.asked.ctl.staleIfError; s >= 0 && e.window(s, 0) > w {
		w = s * second
	}
	life := e.lifetime
	if c.MaxAge > 0 {
		life = min(life, int64(c.MaxAge))
	}
	if over := e.Age(now) - life; over >= w && over >= 0 {
		return nil
	}
	return e
}

// A Do is what follows from an answer's head.
type Do uint8

// What to do with an answer; see the package comment.
const (
	Pass Do = iota
	Answered
	Record
	Again
)

// Taken is what the store makes of an answer.
type Taken struct {
	Do    Do
	Entry *Entry // to answer with: a 304 held it good, or it stands in for a failure
	Why   Why    // for Pass: why it is not stored. For Answered: Stale if it stands in for a failure, else OK
}

// Take says what becomes of the head a of the service's answer to the request r of the
// look-up l. Informational answers are none.
func (s *Store) Take(c *Config, r *Request, l *Look, a *Answer) Taken {
	if l.asked.why != OK {
		return Taken{Why: l.asked.why}
	}
	e := l.Entry
	switch {
	case a.Status == 304 && l.validates():
		n, whole := e.freshened(r, a)
		if n == nil {
			s.shelf.drop(e)
			l.Entry = nil // so that the next request has no conditions
			return Taken{Do: Again}
		}
		get := *r
		get.Method = "GET"
		if storable(&get, &l.asked, whole) == OK {
			s.shelf.put(n)
		} else {
			s.shelf.drop(e)
		}
		return Taken{Do: Answered, Entry: n}
	case failure(a.Status):
		if f := l.Failed(c, a.Came); f != nil {
			return Taken{Do: Answered, Entry: f, Why: Stale}
		}
		return Taken{Why: Code}
	}
	w := storable(r, &l.asked, a)
	if e != nil && w != OK && storedStatus(a.Status) && !(r.Method == "HEAD" && e.described(a)) {
		s.shelf.drop(e) // there is something newer, which is not stored
	}
	if w == OK {
		return Taken{Do: Record}
	}
	return Taken{Why: w}
}

// failure are the statuses that stale-if-error is for. RFC 5861, section 4.
func failure(code int) bool { return code == 500 || code >= 502 && code <= 504 }

// described says whether the answer to a HEAD agrees with what is stored. RFC 9111, section 4.3.5.
func (e *Entry) described(a *Answer) bool {
	if a.Status != e.status {
		return false
	}
	if tag, ok := a.Fields.First("ETag"); ok && trim(tag) != e.etag {
		return false
	}
	if mod, ok := a.Fields.First("Last-Modified"); ok && mod != e.lastModified {
		return false
	}
	if n, ok := a.Fields.First("Content-Length"); ok && seconds(n, -1) != int64(len(e.body)) {
		return false
	}
	return true
}

// Put keeps a finished entry, unless its key was invalidated since its request left. It
// is OK, TooBig or Outdated. The answer must have been taken for Record.
func (s *Store) Put(e *Entry) Why { return s.shelf.put(e) }
