package proxy

import (
	"cmp"
	"slices"
)

// gate is a listener of the snapshot that has an address.
type gate struct {
	want string   // the address declared
	b    *binding // nil: not open
	at   string   // the address declared when b was opened: another while want cannot be had
	err  error    // why want is not open
}

// Gateway says how a listener with an address stands.
type Gateway struct {
	Name  string
	Want  string // as declared
	Bound string // host:port it is open at; "" if it is not
	Err   error  // why not
}

// Gateways gives the listeners with an address, by name. Empty until Run.
func (p *Proxy) Gateways() []Gateway {
	p.gateMu.Lock()
	defer p.gateMu.Unlock()
	var all []Gateway
	for name, g := range p.gates {
		w := Gateway{Name: name, Want: g.want, Err: g.err}
		if g.b != nil {
			w.Bound = g.b.ln.Addr().String()
		}
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b Gateway) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// openGates opens what c declares and is not open, and closes what it declares no
// more, if Run runs. A new address is opened before the old one is released.
func (p *Proxy) openGates(c *compiled) {
	p.gateMu.Lock()
	defer p.gateMu.Unlock()
	if !p.running || p.cur.Load() != c {
		return
	}
	var old []*binding
	for name, g := range p.gates {
		if l := c.listeners[name]; l == nil || l.Address == "" {
			if g.b != nil {
				old = append(old, g.b)
			}
			delete(p.gates, name)
		}
	}
	for name, l := range c.listeners {
		if l.Address == "" {
			continue
		}
		g := p.gates[name]
		if g == nil {
			g = &gate{}
			p.gates[name] = g
		}
		if g.b != nil && g.at == l.Address {
			g.want, g.err = l.Address, nil
			continue
		}
		b, err := p.bind(name, l.Address, l.Edge())
		if err != nil {
			if g.err == nil || g.want != l.Address {
				p.o.Log.Error("a listener could not be opened", "listener", name, "address", l.Address, "err", err)
			}
		} else if g.b != nil {
			old = append(old, g.b)
		}
		g.want, g.err = l.Address, err
		if err == nil {
			g.b, g.at = b, l.Address
		}
	}
	for _, b := range old {
		p.retired.Go(b.release)
	}
}
