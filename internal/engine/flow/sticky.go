package flow

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"strconv"
	"strings"
	"sync/atomic"

	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
	"stoa/internal/ground/meter"
)

// Sticky endpoints. Who has no cookie of a route that issues one gets it with the answer: it
// names the endpoint that gave it. A later request that brings it goes to that endpoint while it
// is there, neither ejected nor refusing connections, and has not failed the request already;
// else to another, as any request, and the answer brings the cookie of that one.
//
// The cookie's value is the seal of an endpoint: a MAC of its id and upstream under the secret
// of the system (RFC 2104, SHA-256, cut to 128 bits). Nothing can be read from it, nobody can
// make one, and to look it up among those of the endpoints that there are is to verify it: a
// request costs no cryptography. A seal of another secret, route or time is no seal.

// sealLength is that of a seal: 16 bytes in base64 (RFC 4648, section 5).
const sealLength = 22

// sealer makes the seals of one upstream's endpoints.
type sealer struct {
	mac      hash.Hash
	upstream string
}

func newSealer(secret []byte, upstream string) *sealer {
	return &sealer{hmac.New(sha256.New, secret), upstream}
}

func (s *sealer) of(endpoint string) string {
	s.mac.Reset()
	// No name has a zero byte: two pairs never give the same bytes.
	s.mac.Write([]byte("stoa sticky 1\x00" + s.upstream + "\x00" + endpoint))
	return base64.RawURLEncoding.EncodeToString(s.mac.Sum(nil)[:16])
}

// SetSecret gives the secret under which cookies name endpoints: 32 bytes that nobody else knows,
// the same on every gateway and after every start. Without it a plane has one of its own, so that its
// cookies mean nothing to another. What was given under the secret before is no longer known.
func (p *Plane) SetSecret(secret []byte) {
	p.upsMu.Lock()
	p.secret = append([]byte(nil), secret...)
	var replaced []*endpointSet
	for _, u := range p.ups {
		old := u.set.Load()
		replaced = append(replaced, old)
		u.set.Store(p.newSet(u.name, old.eps, u.declared.Balance, old.closed))
	}
	p.upsMu.Unlock()
	for _, old := range replaced {
		close(old.replaced)
	}
}

// sticks is the cookie of a route, compiled.
type sticks struct {
	of     *route.Sticky
	before string // "shop_instance="
	plain  string // what follows the value: "; Path=/orders; HttpOnly; SameSite=Lax"
	secure string // the same over TLS
}

// compileSticky gives nil where none is issued.
func compileSticky(r *route.Rule, c snapshot.Policy) *sticks {
	s := r.Sticky
	if s == nil || s.Issue == "" {
		return nil
	}
	rest := "; Path=" + cookiePath(r) + "; HttpOnly"
	if s.Lasts > 0 {
		rest += "; Max-Age=" + strconv.FormatInt(int64(s.Lasts.Seconds()), 10)
	}
	k := &sticks{of: s, before: s.Issue + "=", plain: rest + "; SameSite=Lax", secure: rest + "; SameSite=Lax; Secure"}
	if c.CORS != nil && c.CORS.Credentials { // pages of other sites send cookies, too; browsers want TLS for that
		k.secure = rest + "; SameSite=None; Secure"
	}
	return k
}

// cookiePath is the path for which a browser is to send the cookie of r: the longest that is
// that of all its requests.
func cookiePath(r *route.Rule) string {
	path := r.Path
	// What begins a variable of a template, or would end the attribute, is left out, with its segment.
	if i := strings.IndexAny(path, "{;"); i >= 0 {
		path = path[:strings.LastIndexByte(path[:i], '/')+1]
	}
	if path == "" {
		return "/"
	}
	return path
}

// back gives the upstream of the endpoint that the caller's cookie names, nil if it names none of
// the route's: of one that gets no requests any more (weight 0) neither.
func (x *Exchange) back(r *Route) *Upstream {
	seal, ok := r.sticks.of.Issued(x.Req)
	if !ok || len(seal) != sealLength {
		return nil
	}
	named := func(u *Upstream) bool {
		set := u.pool.set.Load()
		i, ok := set.bySeal[seal]
		if ok && i < len(set.eps) {
			x.wanted = set.eps[i]
		}
		return x.wanted != nil
	}
	for i := range r.sides {
		if s := &r.sides[i]; r.Rule.Split[i].Weight > 0 && named(s.up) {
			x.series = s.series
			return s.up
		}
	}
	if r.sides == nil && named(r.Up) {
		return r.Up
	}
	return nil
}

// wantedIn gives the place in set of the endpoint that the caller's cookie names; -1 if there
// is none that is good for the next attempt.
func (x *Exchange) wantedIn(set *endpointSet, now int64) int {
	if x.wanted == nil {
		return -1
	}
	if i := set.at(x.wanted); i >= 0 && set.balance.Good(now, i, &x.tried) {
		return i
	}
	return -1
}

// at gives the place of e in s, -1 if it is gone.
func (s *endpointSet) at(e *Endpoint) int {
	for i := range s.eps {
		if s.eps[i] == e {
			return i
		}
	}
	return -1
}

// issue gives the seal that the answer brings as a cookie: of the endpoint that gave it, if
// it is not the one that the caller's names, nor was taken away meanwhile; else "".
func (x *Exchange) issue() string {
	if x.sticks == nil || x.held == nil || x.held == x.wanted {
		return ""
	}
	set := x.Up.pool.set.Load()
	if i := set.at(x.held); i >= 0 {
		return set.seals[i]
	}
	return ""
}

// appendCookie appends the value of Set-Cookie (RFC 6265, section 4.1).
func (x *Exchange) appendCookie(out []byte, seal string) []byte {
	rest := x.sticks.plain
	if x.TLS {
		rest = x.sticks.secure
	}
	return append(append(append(out, x.sticks.before...), seal...), rest...)
}

// What a cookie did for a request.
const (
	stuckKept = iota
	stuckMoved
	stuckNew
	stuckOutcomes
)

var stuckNames = [stuckOutcomes]string{"kept", "moved", "new"}

// stickiness is what an upstream shows of cookies that lead to its endpoints.
type stickiness struct {
	declared atomic.Bool // there was such a request
	counts   [stuckOutcomes]atomic.Pointer[meter.Counter]
}

// stuck counts a request, on its endpoint, too.
func (x *Exchange) stuck() {
	what := stuckMoved
	switch x.wanted {
	case nil:
		what = stuckNew
	case x.held:
		what = stuckKept
	}
	s := &x.Up.pool.sticky
	c := s.counts[what].Load()
	if c == nil {
		c = x.P.meters.sticky.With(x.Up.Name, stuckNames[what])
		s.counts[what].Store(c)
		s.declared.Store(true)
	}
	c.Add(1)
	x.held.stuck.Add(1)
}

// leastSkew is how many requests there must be for a skew that means anything.
const leastSkew = 20

// skew says how many times its even share of the sticky requests of late the busiest of eps has
// had, and forgets an eighth of them; 0 if there were few. Called once a second.
func skew(eps []*Endpoint) float64 {
	var most, all int64
	for _, e := range eps {
		n := e.stuck.Load()
		e.stuck.Add(-(n + 7) / 8)
		all += n
		most = max(most, n)
	}
	if all < leastSkew {
		return 0
	}
	return float64(most) * float64(len(eps)) / float64(all)
}
