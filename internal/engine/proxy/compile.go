package proxy

import (
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// compiled is a snapshot made ready for requests: names resolved to pointers, series
// to cells. It never changes.
type compiled struct {
	snapshot  *snapshot.Snapshot
	version   snapshot.Version
	listeners map[string]*listener
	upstreams map[string]*upstream
	replaced  chan struct{} // closed when another is in force
}

type listener struct {
	snapshot.Listener
	name   string
	table  *route.Table
	routes []*compiledRoute // by index in table
	tcp    *compiledRoute   // for protocol tcp
	none   *series          // of requests that no rule matched
}

// compiledRoute is a rule and where it leads: up or site.
type compiledRoute struct {
	rule   *route.Rule
	up     *upstream
	site   *snapshot.Site
	callee string
	series *series
}

// upstream is an upstream of one snapshot; its pool outlives it.
type upstream struct {
	snapshot.Upstream
	name    string
	service string
	pool    *pool
}

func (p *Proxy) compile(s *snapshot.Snapshot) *compiled {
	c := &compiled{
		snapshot: s, version: s.Version,
		listeners: make(map[string]*listener, len(s.Listeners)),
		upstreams: make(map[string]*upstream, len(s.Upstreams)),
		replaced:  make(chan struct{}),
	}
	for name, u := range s.Upstreams {
		c.upstreams[name] = &upstream{Upstream: u, name: name, service: s.ServiceOf(name), pool: p.pool(name)}
	}
	for name, l := range s.Listeners {
		cl := &listener{Listener: l, name: name, none: p.meters.series(l.Caller, "", "")}
		c.listeners[name] = cl
		if l.Protocol == snapshot.TCP {
			u := c.upstreams[l.Upstream]
			cl.tcp = &compiledRoute{up: u, callee: u.service, series: p.meters.series(l.Caller, u.service, "")}
			continue
		}
		cl.table, _ = route.Compile(l.Routes) // Swap has checked
		for i := range cl.table.Rules() {
			r := &cl.table.Rules()[i]
			cr := &compiledRoute{rule: r}
			if r.Site != "" {
				site := s.Sites[r.Site]
				cr.site, cr.callee = &site, site.Service
				if cr.callee == "" {
					cr.callee = r.Site
				}
			} else {
				cr.up = c.upstreams[r.Upstream]
				cr.callee = cr.up.service
			}
			cr.series = p.meters.series(l.Caller, cr.callee, r.Name)
			cl.routes = append(cl.routes, cr)
		}
	}
	return c
}

// pool gives the pool of an upstream, made if new.
func (p *Proxy) pool(name string) *pool {
	p.upsMu.Lock()
	defer p.upsMu.Unlock()
	return p.poolLocked(name)
}

func (p *Proxy) poolLocked(name string) *pool {
	u := p.ups[name]
	if u == nil {
		u = newPool(name)
		p.ups[name] = u
	}
	return u
}

// forgetPools lets go of the pools that neither the snapshot nor any endpoint needs.
func (p *Proxy) forgetPools(c *compiled) {
	p.upsMu.Lock()
	defer p.upsMu.Unlock()
	for name, u := range p.ups {
		if set := u.set.Load(); c.upstreams[name] == nil && len(set.eps) == 0 && set.closed == nil {
			delete(p.ups, name)
		}
	}
}
