package snapshot

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"

	"stoa/api/fault"
	"stoa/internal/engine/route"
)

// Fragment is what one module adds. Two may add routes to one listener; anything else
// that two declare must be the same in both.
type Fragment struct {
	From      string // the module, for messages
	Listeners map[string]Listener
	Upstreams map[string]Upstream
	Sites     map[string]Site
	Policies  map[string]Policy
}

// Merge makes one snapshot of fragments, in their order. The error joins every problem
// found, each a *fault.Error that names both sides.
func Merge(v Version, fragments ...Fragment) (*Snapshot, error) {
	s := &Snapshot{Version: v, Listeners: map[string]Listener{}, Upstreams: map[string]Upstream{}, Sites: map[string]Site{}, Policies: map[string]Policy{}}
	var errs []error
	from := map[string]string{} // what -> who declared it first
	for _, f := range fragments {
		errs = append(errs, merge(s.Upstreams, f.Upstreams, "upstream", f.From, from)...)
		errs = append(errs, merge(s.Sites, f.Sites, "site", f.From, from)...)
		errs = append(errs, merge(s.Policies, f.Policies, "policy", f.From, from)...)
		for _, name := range slices.Sorted(maps.Keys(f.Listeners)) {
			l := f.Listeners[name]
			first, ok := s.Listeners[name]
			if !ok {
				l.Routes = slices.Clone(l.Routes)
				s.Listeners[name] = l
				from["listener "+name] = f.From
				continue
			}
			routes := append(first.Routes, l.Routes...)
			first.Routes, l.Routes = nil, nil
			if !reflect.DeepEqual(first, l) {
				errs = append(errs, differs("listener", name, from["listener "+name], f.From))
			}
			first.Routes = routes
			s.Listeners[name] = first
		}
	}
	if len(s.Policies) == 0 {
		s.Policies = nil
	}
	errs = append(errs, s.Check())
	return s, errors.Join(errs...)
}

func merge[T any](into, add map[string]T, what, who string, from map[string]string) (errs []error) {
	for _, name := range slices.Sorted(maps.Keys(add)) {
		first, ok := into[name]
		if ok && !reflect.DeepEqual(first, add[name]) {
			errs = append(errs, differs(what, name, from[what+" "+name], who))
		}
		if !ok {
			into[name] = add[name]
			from[what+" "+name] = who
		}
	}
	return errs
}

func differs(what, name, a, b string) error {
	return fault.New(fault.Conflict, what+"/"+name, "declared differently by %s and by %s", a, b)
}

// Check finds every problem of a snapshot by itself: protocols, names that lead nowhere,
// routes in conflict, two gateway listeners at one address.
func (s *Snapshot) Check() error {
	var errs []error
	bad := func(subject, format string, args ...any) {
		errs = append(errs, fault.New(fault.Invalid, subject, format, args...))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Upstreams)) {
		switch p := s.Upstreams[name].Protocol; p {
		case HTTP1, H2C, HTTPS, TCP:
		default:
			bad("upstream/"+name, "protocol %q: want http1, h2c, https or tcp", p)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Sites)) {
		if s.Sites[name].Dir == "" {
			bad("site/"+name, "no directory")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Upstreams)) {
		u := s.Upstreams[name]
		for part, check := range map[string]func(func(path, text, hint string)){
			"balance": u.Balance.Check, "outliers": u.Outliers.Check, "breaker": u.Breaker.Check, "budget": u.Budget.Check, "limit": u.Limit.Check,
		} {
			check(func(path, text, hint string) { bad("upstream/"+name, "%s.%s: %s", part, path, text) })
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Policies)) {
		s.Policies[name].Check(func(path, text, hint string) { bad("policy/"+name, "%s: %s", path, text) })
		if f := s.Policies[name].Fallback; f != nil && f.Upstream != "" {
			if _, ok := s.Upstreams[f.Upstream]; !ok {
				bad("policy/"+name, "fallback.upstream %q does not exist", f.Upstream)
			}
		}
	}
	at := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(s.Listeners)) {
		l := s.Listeners[name]
		subject := "listener/" + name
		if l.Address != "" && !strings.HasSuffix(l.Address, ":0") {
			if other, ok := at[l.Address]; ok {
				bad(subject, "has the address %s of listener/%s", l.Address, other)
			}
			at[l.Address] = name
		}
		switch l.Protocol {
		case TCP:
			if u, ok := s.Upstreams[l.Upstream]; !ok {
				bad(subject, "upstream %q does not exist", l.Upstream)
			} else if u.Protocol != TCP {
				bad(subject, "speaks tcp, but upstream %s speaks %s", l.Upstream, u.Protocol)
			}
			if len(l.Routes) > 0 {
				bad(subject, "speaks tcp and has routes")
			}
		case HTTP:
			for _, r := range l.Routes {
				if u, ok := s.Upstreams[r.Upstream]; r.Upstream != "" && !ok {
					bad(subject, "route %s: upstream %q does not exist", r.Name, r.Upstream)
				} else if ok && u.Protocol == TCP {
					bad(subject, "route %s: upstream %q speaks tcp", r.Name, r.Upstream)
				}
				if _, ok := s.Sites[r.Site]; r.Site != "" && !ok {
					bad(subject, "route %s: site %q does not exist", r.Name, r.Site)
				}
				if _, ok := s.Policies[r.Policy]; r.Policy != "" && !ok {
					bad(subject, "route %s: policy %q does not exist", r.Name, r.Policy)
				}
				for _, side := range r.Split {
					if u, ok := s.Upstreams[side.Upstream]; !ok || u.Protocol == TCP {
						bad(subject, "route %s: upstream %q of the split does not exist, or speaks tcp", r.Name, side.Upstream)
					}
				}
				if r.Mirror != nil {
					if u, ok := s.Upstreams[r.Mirror.Upstream]; !ok || u.Protocol == TCP {
						bad(subject, "route %s: upstream %q of the mirror does not exist, or speaks tcp", r.Name, r.Mirror.Upstream)
					}
				}
			}
			_, conflicts := route.Compile(l.Routes)
			for _, c := range conflicts {
				errs = append(errs, &fault.Error{Op: "snapshot.check", Subject: subject, Kind: fault.Conflict, Err: c})
			}
		default:
			bad(subject, "protocol %q: want http or tcp", l.Protocol)
		}
	}
	return errors.Join(errs...)
}

// ServiceOf gives the service behind an upstream, for people and metrics.
func (s *Snapshot) ServiceOf(upstream string) string {
	if u := s.Upstreams[upstream]; u.Service != "" {
		return u.Service
	}
	return upstream
}
