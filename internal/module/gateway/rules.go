package gateway

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"stoa/api/core"
	"stoa/api/gateway"
	"stoa/api/mesh"
	"stoa/api/workload"
	"stoa/internal/engine/policy"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
)

// rules gives the routes that lead to a service, in the order of its expose.
func rules(state core.State, doc core.Document) []route.Rule {
	var out []route.Rule
	static := workload.RunSection.Of(doc).Static != ""
	for i, e := range gateway.ExposeSection.Of(doc) {
		r := route.Rule{
			Host: e.Host, Kind: kind(e), Path: e.Path, Methods: e.Methods, Headers: conditions(e.Headers), Queries: conditions(e.Query),
			StripPrefix: e.StripPrefix, Rewrite: e.Rewrite, Relaxed: e.Relaxed,
			Request: edits(e.RequestHeaders), Answer: edits(e.AnswerHeaders),
			Source: fmt.Sprintf("%s expose[%d]", doc.Ref(), i),
		}
		r.Name = name(doc.Name, e, r)
		switch {
		case e.Redirect != nil:
			r.Redirect, _ = redirect(*e.Redirect)
		case static:
			r.Site = doc.Name
		case e.Split != nil:
			for _, s := range e.Split {
				upstream, _, _ := upstreamOf(state, s.Service, s.Listener)
				r.Split = append(r.Split, route.Weighted{Upstream: upstream, Weight: s.Weight})
			}
		default:
			if r.Upstream, _, _ = upstreamOf(state, doc.Name, e.Listener); r.Upstream == "" {
				r.Upstream = doc.Name
			}
		}
		if m := e.Mirror; m != nil {
			upstream, _, _ := upstreamOf(state, m.Service, m.Listener)
			r.Mirror = &route.Mirror{Upstream: upstream, Percent: m.Percent, Unsafe: m.Unsafe}
		}
		if e.Sticky != nil {
			r.Sticky = &route.Sticky{Cookie: e.Sticky.Cookie, Header: e.Sticky.Header, Issue: e.Sticky.Issue, Lasts: e.Sticky.Lasts.D()}
		}
		out = append(out, r)
	}
	return out
}

// name gives the name of a rule, unique at the gateway: its service and what it matches.
func name(service string, e gateway.Expose, r route.Rule) string {
	n := service + " " + e.Host + e.Path
	if len(e.Methods) > 0 {
		n += " " + strings.Join(e.Methods, ",")
	}
	if _, conditions, ok := strings.Cut(r.Pattern(), " if "); ok {
		n += " if " + conditions
	}
	return n
}

// upstreamOf finds the upstream of a port of a service; ok is false if the service is not
// there, is files, or has no such port.
func upstreamOf(state core.State, service, listener string) (upstream, protocol string, ok bool) {
	doc, ok := state.Docs[core.Ref{Kind: core.KindService, Name: service}]
	if !ok {
		return "", "", false
	}
	l, ok := portOf(doc, listener)
	if !ok {
		return "", "", false
	}
	return workload.Upstream(service, l), l.Protocol, true
}

func kind(e gateway.Expose) route.Kind {
	switch {
	case strings.Contains(e.Path, "{"):
		return route.Template
	case e.Exact:
		return route.Exact
	}
	return route.Prefix
}

func conditions(all []gateway.Condition) []route.Cond {
	var out []route.Cond
	for _, c := range all {
		out = append(out, route.Cond(c))
	}
	return out
}

// edits gives header edits, those of one kind in the order of their names.
func edits(e *gateway.Edits) *route.Edits {
	if e == nil {
		return nil
	}
	list := func(m map[string]string) (fields []route.Field) {
		for _, n := range slices.Sorted(maps.Keys(m)) {
			fields = append(fields, route.Field{Name: n, Value: m[n]})
		}
		return fields
	}
	return &route.Edits{Set: list(e.Set), Add: list(e.Add), Remove: e.Remove}
}

// heads gives the bounds of heads.
func heads(h *gateway.Heads) snapshot.Heads {
	if h == nil {
		return snapshot.Heads{}
	}
	return snapshot.Heads(*h)
}

// redirect reads where a redirect leads; ok is false if to is no place.
func redirect(r gateway.Redirect) (*route.Redirect, bool) {
	out := route.Redirect{Code: r.Code}
	if strings.HasPrefix(r.To, "/") && !strings.HasPrefix(r.To, "//") {
		out.Path = r.To
		return &out, true
	}
	scheme, rest, ok := strings.Cut(r.To, "://")
	if !ok || scheme == "" || strings.ContainsAny(r.To, "?#") {
		return &out, false
	}
	out.Scheme = scheme
	host, path, hasPath := strings.Cut(rest, "/")
	if hasPath && (host == "" || path != "") {
		out.Path = "/" + path
	}
	host, port, hasPort := strings.Cut(host, ":")
	if out.Host = host; hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return &out, false
		}
		out.Port = int(n)
	}
	return &out, true
}

// policyOf gives how the requests of one path are carried.
func policyOf(state core.State, e gateway.Expose, r route.Rule, d mesh.Defaults) snapshot.Policy {
	p := e.EdgePolicy.Over(d.EdgePolicy)
	if r.Site != "" || r.Redirect != nil { // answered here: there is no call
		p.Policy, p.Cohort = core.Policy{}, ""
	}
	return policy.Of(p, func(service string) string {
		upstream, protocol, ok := upstreamOf(state, service, "")
		if !ok || protocol == workload.TCP {
			return ""
		}
		return upstream
	})
}
