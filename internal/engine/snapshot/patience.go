package snapshot

import (
	"cmp"
	"reflect"
	"slices"
	"time"

	"stoa/internal/engine/deadline"
	"stoa/internal/engine/retry"
	"stoa/internal/engine/route"
)

// Patience is how long an attempt of a call by r may take: what is declared for one, and for
// the whole if that is less. deadline.None is without a bound.
func (p Policy) Patience(r *route.Rule) time.Duration {
	total := p.Deadline.Route()
	if r.Timeout > 0 {
		total = r.Timeout
	}
	return min(total, cmp.Or(p.Retry.PerTry, deadline.None))
}

// Retries is what is repeated of a call by p; edge says that its caller is outside. What nobody has declared
// is then repeated only where no answer came: an answer may be one that the service passes on, of calls that
// were repeated within. See docs/adr/0016-who-shares-a-breaker.md.
func (p Policy) Retries(edge bool) retry.Config {
	if edge && reflect.ValueOf(p.Retry).IsZero() {
		return retry.Config{On: []string{"connect", "reset"}}
	}
	return p.Retry
}

// Patience gives, by upstream, how long the attempts of the rules that lead to it may take:
// each once, in ascending order. Who waits less than the last sees timeouts that others do not.
func (s *Snapshot) Patience() map[string][]time.Duration {
	all := map[string][]time.Duration{}
	for _, l := range s.Listeners {
		for i := range l.Routes {
			r := &l.Routes[i]
			d := s.Policies[r.Policy].Patience(r)
			add := func(upstream string) {
				have := all[upstream]
				if at, found := slices.BinarySearch(have, d); !found {
					all[upstream] = slices.Insert(have, at, d)
				}
			}
			if r.Upstream != "" {
				add(r.Upstream)
			}
			for _, w := range r.Split {
				add(w.Upstream)
			}
		}
	}
	return all
}
