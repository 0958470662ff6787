package cache

import (
	"net/url"
	"strings"
)

// Invalidate forgets, at now, what a successful unsafe request may have changed: its
// target, and what Location and Content-Location name on the same host. RFC 9111, section
// 4.4. It reaches every class and every variant, and what is on its way. The targets are told
// to forget, if it is not nil, for those who join requests.
func (s *Store) Invalidate(r *Request, a *Answer, now int64, forget func(Key)) {
	if safe(r.Method) || a.Status < 200 || a.Status > 399 {
		return
	}
	drop := func(target string) {
		k := Key{r.Key.Host, target}
		s.shelf.invalidate(k, now)
		if forget != nil {
			forget(k)
		}
	}
	drop(r.Key.Target)
	for _, name := range [...]string{"Location", "Content-Location"} {
		if v, ok := a.Fields.First(name); ok {
			if t, ok := targetOf(trim(v), r.Key); ok && t != r.Key.Target {
				drop(t)
			}
		}
	}
}

// safe are the methods that change nothing. Of a method it does not know, a cache must
// think that it does.
func safe(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE":
		return true
	}
	return false
}

// targetOf gives the target on k's host that a reference names, spelled as it is there.
func targetOf(ref string, k Key) (string, bool) {
	ref, _, _ = strings.Cut(ref, "#")
	if ref == "" || len(ref) > 8<<10 {
		return "", false
	}
	if ref[0] != '/' || strings.HasPrefix(ref, "//") {
		_, rest, ok := strings.Cut(ref, "//")
		scheme, _, _ := strings.Cut(ref, ":")
		if ok && (strings.HasPrefix(ref, "//") || same(scheme, "http") || same(scheme, "https")) {
			i := strings.IndexAny(rest, "/?")
			if i < 0 {
				i = len(rest)
			}
			if !strings.EqualFold(rest[:i], k.Host) {
				return "", false // another host: it is not this one's to invalidate
			}
			if ref = rest[i:]; ref == "" || ref[0] == '?' {
				ref = "/" + ref
			}
		}
	}
	if ref[0] == '/' && !strings.HasPrefix(ref, "//") {
		return ref, true
	}
	base, err := url.Parse(k.Target)
	if err != nil {
		return "", false
	}
	u, err := url.Parse(ref)
	if err != nil || u.Scheme != "" || u.Host != "" {
		return "", false
	}
	return base.ResolveReference(u).RequestURI(), true
}
