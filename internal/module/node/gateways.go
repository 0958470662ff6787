package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/internal/engine/process"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
)

// Gateway gives the URL at which the gateway is open, "" if it is not, the file of the root
// to trust if its certificates are of the development CA, and why it is not open where it
// is declared: NotFound if it is not declared yet.
func (m *Module) Gateway(name string) (url, root string, err error) {
	for _, g := range m.proxy.Gateways() {
		if g.Name != name {
			continue
		}
		switch {
		case g.Bound == "":
		case g.Secure:
			url = "https://" + g.Bound
		default:
			url = "http://" + g.Bound
		}
		return url, g.Root, unopened(g)
	}
	return "", "", fault.New(fault.NotFound, name, "is not declared yet")
}

// unopened says why a gateway is not open where it is declared, who has its port, and
// what to do; nil if it is open.
func unopened(g proxy.Gateway) error {
	if g.Err == nil {
		return nil
	}
	const again = " It is tried again every second."
	at, field, other := g.Want, "listen: 127.0.0.1:8081", ", or --gateway."
	out := &fault.Error{Subject: g.Name + " " + at, Kind: fault.Unavailable}
	var socket *net.OpError
	if errors.As(g.Err, &socket) && socket.Addr != nil && !sameAddress(socket.Addr.String(), g.Want) { // the port of clear text beside it
		at, field, other = socket.Addr.String(), "redirectHTTP: 127.0.0.1:8081", "."
		out.Subject = g.Name + " redirectHTTP " + at
	}
	address := "ive it another address: gateway: {" + field + "} in the System" + other + again
	out.Hint = "G" + address
	var cert *fault.Error
	switch {
	case errors.As(g.Err, &cert) && strings.HasPrefix(cert.Op, "certs."):
		out.Err = fmt.Errorf("cannot use its certificate: %s: %w", cert.Subject, cert.Err)
		out.Hint = cert.Hint + again
	case errors.Is(g.Err, syscall.EADDRINUSE):
		who := "another process; to see which: ss -ltnp"
		if _, port, err := net.SplitHostPort(at); err == nil {
			if n, err := strconv.Atoi(port); err == nil {
				if holder := process.Holder(n); holder != "" {
					who = holder
				}
			}
		}
		out.Err = fmt.Errorf("cannot listen: the port is taken by %s", who)
		out.Hint = "End that one, or g" + address
	case errors.Is(g.Err, syscall.EACCES):
		out.Err = errors.New("cannot listen: this user may not open the port")
		out.Hint = "Give it a port above 1023, or let the program: setcap cap_net_bind_service=+ep $(which stoa)"
	default:
		out.Err = fmt.Errorf("cannot listen: %w", g.Err)
	}
	return out
}

// sameAddress says whether a socket is the one of an address as declared, which may name its
// host otherwise.
func sameAddress(socket, declared string) bool {
	_, a, err := net.SplitHostPort(socket)
	_, b, err2 := net.SplitHostPort(declared)
	return err != nil || err2 != nil || a == b
}

// followGateways tells how the gateways stand whenever that changes.
func (m *Module) followGateways(ctx context.Context) {
	for ctx.Err() == nil {
		changed := m.proxy.GatewaysChanged()
		m.tell(m.p.State())
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// tell observes the condition Routed: of the System, and of the services to which only a
// gateway leads that is not open, until they can be reached again.
func (m *Module) tell(state core.State) {
	m.tellMu.Lock()
	defer m.tellMu.Unlock()
	m.mu.Lock()
	refused := m.refused
	m.mu.Unlock()
	routed := core.Condition{Type: "Routed", Status: core.True, Reason: "Routed", Message: "traffic follows the revision", Revision: state.Revision}
	out := map[core.Ref]core.Condition{}
	snap := m.proxy.Snapshot()
	for _, g := range m.proxy.Gateways() {
		err := unopened(g)
		if err == nil || snap == nil {
			continue
		}
		c := core.Condition{Type: "Routed", Status: core.False, Reason: "GatewayClosed", Message: err.Error(), Hint: fault.HintOf(err), Revision: state.Revision}
		if g.Bound != "" {
			c.Message += "; until then it stays at " + g.Bound
		}
		routed = c
		for _, ref := range behind(snap, g.Name) {
			out[ref] = c
		}
	}
	if refused != "" {
		routed.Status, routed.Reason, routed.Message, routed.Hint = core.False, "Refused", refused, ""
	}
	if sys, ok := state.System(); ok {
		m.p.Observe(sys.Ref(), routed)
	}
	for ref, c := range out {
		m.cutOff[ref] = true
		m.p.Observe(ref, c)
	}
	for ref := range m.cutOff {
		if _, still := out[ref]; still {
			continue
		}
		delete(m.cutOff, ref)
		if _, there := state.Docs[ref]; there {
			m.p.Observe(ref, core.Condition{Type: "Routed", Status: core.True, Reason: "Routed", Message: "the gateway is open", Revision: state.Revision})
		}
	}
}

// behind gives the services to which a listener leads.
func behind(s *snapshot.Snapshot, listener string) (refs []core.Ref) {
	seen := map[string]bool{}
	for _, r := range s.Listeners[listener].Routes {
		name := r.Site
		if r.Upstream != "" {
			name = s.ServiceOf(r.Upstream)
		}
		if !seen[name] {
			seen[name] = true
			refs = append(refs, core.Ref{Kind: core.KindService, Name: name})
		}
	}
	return refs
}
