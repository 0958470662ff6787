package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"slices"
	"sync"

	"stoa/internal/engine/flow"
)

// gate is a listener of the snapshot that has an address.
type gate struct {
	want string   // the address declared
	b    *binding // nil: not open
	at   string   // the address declared when b was opened: another while want cannot be had
	err  error    // why want is not open
	tls  *secured // nil: clear text
}

// Gateway says how a listener with an address stands.
type Gateway struct {
	Name  string
	Want  string // as declared
	Bound string // host:port it is open at; "" if it is not
	Err   error  // why not

	Secure bool   // it speaks TLS
	Root   string // file of the development CA's root, to be trusted; "" if its certificates come from elsewhere
}

// Gateways gives the listeners with an address, by name. Empty until Run.
func (p *Proxy) Gateways() []Gateway {
	p.gateMu.Lock()
	defer p.gateMu.Unlock()
	return p.gatewaysLocked()
}

// GatewaysChanged gives what is closed when Gateways gives something else than now.
func (p *Proxy) GatewaysChanged() <-chan struct{} {
	p.gateMu.Lock()
	defer p.gateMu.Unlock()
	return p.gatesChanged
}

func (p *Proxy) gatewaysLocked() []Gateway {
	var all []Gateway
	for name, g := range p.gates {
		w := Gateway{Name: name, Want: g.want, Err: g.err}
		if g.b != nil {
			w.Bound = g.b.ln.Addr().String()
		}
		if g.tls != nil {
			w.Secure, w.Root = true, g.tls.src.Root()
		}
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b Gateway) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// openGates opens what the snapshot declares and is not open, and closes what it declares no
// more, if Run runs. A new address is opened before the old one is released.
func (p *Proxy) openGates() {
	p.gateMu.Lock()
	defer p.gateMu.Unlock()
	if !p.running || p.closing {
		return
	}
	listeners := p.plane.Table().Listeners
	before := p.gatewaysLocked()
	var old []*binding
	for name, g := range p.gates {
		if l := listeners[name]; l == nil || l.Address == "" {
			if g.b != nil {
				old = append(old, g.b)
			}
			if g.tls != nil {
				p.retired.Go(g.tls.stop)
			}
			delete(p.gates, name)
		}
	}
	for name, l := range listeners {
		if l.Address == "" {
			continue
		}
		g := p.gates[name]
		if g == nil {
			g = &gate{}
			p.gates[name] = g
		}
		same := g.b != nil && g.at == l.Address
		if same && g.tls.secures(l) {
			g.want, g.err = l.Address, nil
			continue
		}
		secure, config, err := g.tls, (*tls.Config)(nil), error(nil)
		if !g.tls.secures(l) {
			if secure = nil; l.TLS != nil {
				secure, err = p.reopen(g, l)
			}
		}
		if secure != nil {
			config = secure.src.TLS()
		}
		b := g.b
		switch {
		case err != nil:
		case same:
			b.tls.Store(config) // connections that are open stay as they are
		default:
			b, err = p.bind(name, l.Address, l.Edge(), config)
		}
		if err == nil && secure != g.tls {
			if g.tls != nil {
				p.retired.Go(g.tls.stop)
			}
			if g.tls = secure; secure != nil {
				secure.start(b.ln.Addr())
			}
		}
		if err != nil {
			if g.err == nil || g.want != l.Address {
				p.o.Log.Error("a listener could not be opened", "listener", name, "address", l.Address, "err", err)
			}
		} else if g.b != nil && g.b != b {
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
	if !slices.EqualFunc(before, p.gatewaysLocked(), sameGateway) {
		close(p.gatesChanged)
		p.gatesChanged = make(chan struct{})
	}
}

// reopen opens the certificates that l declares in place of those of g. The port of clear
// text is given up first if it stays the same: it cannot be held twice.
func (p *Proxy) reopen(g *gate, l *flow.Listener) (*secured, error) {
	if g.tls != nil && g.tls.redirect == l.Redirect && l.Redirect != "" {
		g.tls.stop()
	}
	return p.secure(l)
}

func sameGateway(a, b Gateway) bool {
	return a.Name == b.Name && a.Want == b.Want && a.Bound == b.Bound && a.Secure == b.Secure && (a.Err == nil) == (b.Err == nil) &&
		(a.Err == nil || a.Err.Error() == b.Err.Error())
}

// CloseGateways closes the listeners with an address to new connections, for good, and
// waits until nothing is in flight at them, or ctx ends; what is still in flight then
// goes on. The listeners of Bind stay open: services finish what they do for the callers.
func (p *Proxy) CloseGateways(ctx context.Context) {
	p.gateMu.Lock()
	p.closing = true
	var all []*binding
	for _, g := range p.gates {
		if g.b != nil {
			all = append(all, g.b)
		}
	}
	p.gateMu.Unlock()
	var wg sync.WaitGroup
	for _, b := range all {
		wg.Go(func() { b.quiesce(ctx) })
	}
	wg.Wait()
}
