package flow

import (
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// Table is a snapshot made ready for requests: names resolved to pointers, series to
// cells. It never changes.
type Table struct {
	Snapshot  *snapshot.Snapshot // nil before the first
	Version   snapshot.Version
	Listeners map[string]*Listener
	Replaced  chan struct{} // closed when another is in force

	upstreams map[string]*Upstream
	all       []*series             // of its rules
	series    map[seriesKey]*series // the same, by name: what was learned outlives snapshots
}

// Listener is a listener of one snapshot.
type Listener struct {
	snapshot.Listener
	Name string
	TCP  *Route // where a connection goes, for protocol tcp

	table  *route.Table
	routes []*Route // by index in table
	none   *series  // of requests that no rule matched
}

// Route is a rule and where it leads: Up, one of its sides, Site or a redirect.
type Route struct {
	Rule   *route.Rule // nil for TCP
	Up     *Upstream
	Site   *snapshot.Site
	Callee string
	series *series
	policy *policy
	rated  rated
	sticks *sticks // nil: no cookie of ours leads to an endpoint
	sides  []side  // of a split; nil: none
	usual  usual
	mirror *Upstream // gets copies of requests; nil: none
	memory *memory   // nil: answers are relayed and forgotten
}

// side is one side of a split.
type side struct {
	up     *Upstream
	series *series
}

// Upstream is an upstream of one snapshot; its pool outlives it.
type Upstream struct {
	snapshot.Upstream
	Name    string
	Service string
	pool    *pool
	hasty   []hasty // breakers of those who wait less than others
	from    source  // of the balancer's key
	calls   bool    // there are listeners for its service: calls that inherit
}

func (p *Plane) compile(s *snapshot.Snapshot) *Table {
	c := &Table{
		Snapshot: s, Version: s.Version,
		Listeners: make(map[string]*Listener, len(s.Listeners)),
		upstreams: make(map[string]*Upstream, len(s.Upstreams)),
		series:    make(map[seriesKey]*series),
		Replaced:  make(chan struct{}),
	}
	before := p.cur.Load().series
	seriesOf := func(caller, callee, route string) *series {
		k := seriesKey{caller, callee, route}
		of := c.series[k]
		if of == nil {
			if of = before[k]; of == nil {
				of = p.meters.series(caller, callee, route)
			}
			c.series[k], c.all = of, append(c.all, of)
		}
		return of
	}
	callers := make(map[string]bool)
	for _, l := range s.Listeners {
		callers[l.Caller] = true
	}
	patience := s.Patience()
	for name, u := range s.Upstreams {
		cu := &Upstream{Upstream: u, Name: name, Service: s.ServiceOf(name), pool: p.pool(name)}
		cu.from.kind, cu.from.name = u.Balance.Source()
		cu.calls = callers[cu.Service]
		c.upstreams[name] = cu
		p.declare(cu.pool, u)
		cu.hasty = p.hastyOf(cu.pool, patience[name])
	}
	spent := make(map[spendingKey]*spending)
	for name, l := range s.Listeners {
		cl := &Listener{Listener: l, Name: name, none: seriesOf(l.Caller, "", "")}
		c.Listeners[name] = cl
		if l.Protocol == snapshot.TCP {
			u := c.upstreams[l.Upstream]
			cl.TCP = &Route{Up: u, Callee: u.Service, series: seriesOf(l.Caller, u.Service, "")}
			continue
		}
		cl.table, _ = route.Compile(l.Routes) // Swap has checked
		for i := range cl.table.Rules() {
			r := &cl.table.Rules()[i]
			cr := &Route{Rule: r, policy: compilePolicy(r, s.Policies[r.Policy], l.Edge(), func(i int) *spending {
				k := spendingKey{name, r.Name, i}
				if spent[k] = p.spent[k]; spent[k] == nil {
					spent[k] = &spending{}
				}
				return spent[k]
			})}
			for _, w := range r.Split {
				u := c.upstreams[w.Upstream]
				cr.sides = append(cr.sides, side{u, seriesOf(l.Caller, u.Service, r.Name)})
			}
			cr.sticks = compileSticky(r, s.Policies[r.Policy])
			switch {
			case r.Redirect != nil:
			case r.Site != "":
				site := s.Sites[r.Site]
				cr.Site, cr.Callee = &site, site.Service
				if cr.Callee == "" {
					cr.Callee = r.Site
				}
			case cr.sides != nil:
				cr.Up = cr.sides[0].up
				cr.Callee = cr.Up.Service
			default:
				cr.Up = c.upstreams[r.Upstream]
				cr.Callee = cr.Up.Service
			}
			if cr.Up != nil {
				cr.memory = p.memory(cl, r, s, c)
				if r.Mirror != nil {
					cr.mirror = c.upstreams[r.Mirror.Upstream]
				}
			}
			cr.series = seriesOf(l.Caller, cr.Callee, r.Name)
			cl.routes = append(cl.routes, cr)
		}
	}
	p.spent = spent // what no rule spends is forgotten
	return c
}

// pool gives the pool of an upstream, made if new.
func (p *Plane) pool(name string) *pool {
	p.upsMu.Lock()
	defer p.upsMu.Unlock()
	return p.poolLocked(name)
}

func (p *Plane) poolLocked(name string) *pool {
	u := p.ups[name]
	if u == nil {
		u = p.newPool(name)
		p.ups[name] = u
	}
	return u
}

// forgetPools lets go of the pools that neither the snapshot nor any endpoint needs.
func (p *Plane) forgetPools(c *Table) {
	p.upsMu.Lock()
	defer p.upsMu.Unlock()
	for name, u := range p.ups {
		if set := u.set.Load(); c.upstreams[name] == nil && len(set.eps) == 0 && set.closed == nil {
			delete(p.ups, name)
			if u.gauges.Load() != nil {
				p.meters.forget(name)
				for _, h := range u.hasty {
					p.meters.hasty.Drop(name, h.patience.String())
				}
			}
		}
	}
}
