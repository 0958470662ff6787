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

// Route is a rule and where it leads: Up or Site.
type Route struct {
	Rule   *route.Rule // nil for TCP
	Up     *Upstream
	Site   *snapshot.Site
	Callee string
	series *series
}

// Upstream is an upstream of one snapshot; its pool outlives it.
type Upstream struct {
	snapshot.Upstream
	Name    string
	Service string
	pool    *pool
}

func (p *Plane) compile(s *snapshot.Snapshot) *Table {
	c := &Table{
		Snapshot: s, Version: s.Version,
		Listeners: make(map[string]*Listener, len(s.Listeners)),
		upstreams: make(map[string]*Upstream, len(s.Upstreams)),
		Replaced:  make(chan struct{}),
	}
	for name, u := range s.Upstreams {
		c.upstreams[name] = &Upstream{Upstream: u, Name: name, Service: s.ServiceOf(name), pool: p.pool(name)}
	}
	for name, l := range s.Listeners {
		cl := &Listener{Listener: l, Name: name, none: p.meters.series(l.Caller, "", "")}
		c.Listeners[name] = cl
		if l.Protocol == snapshot.TCP {
			u := c.upstreams[l.Upstream]
			cl.TCP = &Route{Up: u, Callee: u.Service, series: p.meters.series(l.Caller, u.Service, "")}
			continue
		}
		cl.table, _ = route.Compile(l.Routes) // Swap has checked
		for i := range cl.table.Rules() {
			r := &cl.table.Rules()[i]
			cr := &Route{Rule: r}
			if r.Site != "" {
				site := s.Sites[r.Site]
				cr.Site, cr.Callee = &site, site.Service
				if cr.Callee == "" {
					cr.Callee = r.Site
				}
			} else {
				cr.Up = c.upstreams[r.Upstream]
				cr.Callee = cr.Up.Service
			}
			cr.series = p.meters.series(l.Caller, cr.Callee, r.Name)
			cl.routes = append(cl.routes, cr)
		}
	}
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
		u = newPool(name)
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
		}
	}
}
