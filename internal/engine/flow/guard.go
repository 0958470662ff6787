package flow

import (
	"strconv"
	"strings"

	"stoa/internal/engine/certs"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// guard is what the answers of a route say to browsers, compiled. It never changes.
type guard struct {
	cors   *snapshot.CORS
	expose string // Access-Control-Expose-Headers
	fields [][2]string
	hsts   certs.HSTS
}

// compileGuard gives nil where nothing is declared.
func compileGuard(c snapshot.Policy) *guard {
	if c.CORS == nil && c.Secure == nil {
		return nil
	}
	g := &guard{cors: c.CORS}
	if c.CORS != nil {
		g.expose = strings.Join(c.CORS.Expose, ", ")
	}
	if s := c.Secure; s != nil {
		add := func(name, value string) {
			if value != "" {
				g.fields = append(g.fields, [2]string{name, value})
			}
		}
		if s.NoSniff {
			add("X-Content-Type-Options", "nosniff")
		}
		add("X-Frame-Options", s.Frames)
		add("Referrer-Policy", s.Referrer)
		add("Content-Security-Policy", s.ContentPolicy)
		add("Permissions-Policy", s.PermissionsFor)
		g.hsts.MaxAge = s.HSTS
	}
	return g
}

// defaultPreflight is how long a browser keeps what a preflight told it.
const defaultPreflight = 600 // seconds

// preflight says whether the request asks before one of another method (Fetch, section
// 3.2.2) whose rule says which origins may: then that rule is its own, too.
func (x *Exchange) preflight(l *Listener, hit *route.Hit, path string) bool {
	if x.Req == nil {
		return false
	}
	asked, ok := x.Req.Header("Access-Control-Request-Method")
	if !ok || !l.table.MatchRequest(hit, x.Rec.Host, asked, path, x.Req) {
		return false
	}
	g := l.routes[hit.Index].policy.guard
	return g != nil && g.cors != nil
}

// cross applies the CORS protocol (Fetch, section 3.2) to a request that has an Origin: it
// marks the answer if the origin may read it, and answers a preflight, as a refusal
// without a reason.
func (x *Exchange) cross(c *snapshot.CORS) *Refusal {
	origin, ok := x.Req.Header("Origin")
	if !ok {
		if allowedOrigin(c, "") != "*" {
			x.Mark("Vary", "Origin") // a cache must not give this answer to a page, which needs to be told that it may read it
		}
		return nil
	}
	_, preflight := x.Req.Header("Access-Control-Request-Method")
	preflight = preflight && x.Rec.Method == "OPTIONS"
	value := allowedOrigin(c, origin)
	if value != "*" {
		x.Mark("Vary", "Origin") // also where it is not allowed: another origin may be
	}
	switch {
	case value == "" && preflight:
		return &Refusal{Reason: hop.Origin, Status: 403, Text: "pages of " + origin + " may not use this",
			Hint: "Name the origin: cors: {origins: [" + origin + "]} where the service exposes it."}
	case value == "":
		return nil // the browser keeps the answer from the page
	}
	x.Mark("Access-Control-Allow-Origin", value)
	if c.Credentials {
		x.Mark("Access-Control-Allow-Credentials", "true")
	}
	if !preflight {
		if e := x.policy.guard.expose; e != "" {
			x.Mark("Access-Control-Expose-Headers", e)
		}
		return nil
	}
	methods := c.Methods
	if len(methods) == 0 {
		if methods = x.Route.Rule.Methods; len(methods) == 0 {
			methods = Methods
		}
	}
	f := &Refusal{Status: 204, Bare: true}
	add := func(name, value string) { f.Fields = append(f.Fields, [2]string{name, value}) }
	add("Access-Control-Allow-Methods", strings.Join(methods, ", "))
	if len(c.Headers) > 0 {
		add("Access-Control-Allow-Headers", strings.Join(c.Headers, ", "))
	}
	age := int64(c.MaxAge.Seconds())
	if age == 0 {
		age = defaultPreflight
	}
	add("Access-Control-Max-Age", strconv.FormatInt(age, 10))
	return f // the browser compares
}

// allowedOrigin gives the value of Access-Control-Allow-Origin, "" if origin may not.
func allowedOrigin(c *snapshot.CORS, origin string) string {
	for _, o := range c.Origins {
		if o == "*" {
			return "*"
		}
		if o == origin {
			return origin
		}
		scheme, host, ok := strings.Cut(o, "://*.")
		if !ok {
			continue
		}
		// https://*.shop.example is every name below, with this port, and not shop.example itself.
		rest, ok := strings.CutPrefix(origin, scheme+"://")
		if ok && len(rest) > len(host)+1 && strings.HasSuffix(rest, "."+host) && !strings.ContainsAny(rest, "/@?#") {
			return origin
		}
	}
	return ""
}

// secures gives the security fields of the answer; nil for most routes.
func (x *Exchange) secures() *guard {
	if x.policy == nil || x.policy.guard == nil || x.policy.guard.fields == nil && x.policy.guard.hsts.MaxAge == 0 {
		return nil
	}
	return x.policy.guard
}

// Secures says whether the answer bears security fields that were declared.
func (x *Exchange) Secures() bool { return x.secures() != nil }

// AppendSecure appends the security fields that the answer has none of its own of; has says
// which it has.
func (x *Exchange) AppendSecure(out []byte, has func(name string) bool) []byte {
	x.secureFields(has, func(name, value string) { out = appendLine(out, name, value) })
	return out
}

// EditSecure puts them into a header of net/http.
func (x *Exchange) EditSecure(h map[string][]string) {
	x.secureFields(func(name string) bool { return len(h[name]) > 0 }, func(name, value string) { h[name] = []string{value} })
}

func (x *Exchange) secureFields(has func(name string) bool, add func(name, value string)) {
	g := x.secures()
	if g == nil {
		return
	}
	for _, f := range g.fields {
		if !has(f[0]) {
			add(f[0], f[1])
		}
	}
	const hsts = "Strict-Transport-Security"
	if x.TLS && g.hsts.MaxAge > 0 && !has(hsts) {
		if v := g.hsts.Value(x.Rec.Host); v != "" {
			add(hsts, v)
		}
	}
}

// ours says whether a field of a service's answer gives way to ours: what it says to other
// origins, where the route says it.
func (x *Exchange) ours(name string) bool {
	const prefix = "Access-Control-"
	return x.policy != nil && x.policy.guard != nil && x.policy.guard.cors != nil &&
		len(name) > len(prefix) && strings.EqualFold(name[:len(prefix)], prefix)
}
