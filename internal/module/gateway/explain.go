package gateway

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/gateway"
	"stoa/api/mesh"
	"stoa/api/workload"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
	"stoa/internal/ground/nearest"
)

// written gives the snapshot that a blueprint on disk would make, with its documents.
func (m *Module) written(ctx context.Context, dir, env string) (*snapshot.Snapshot, core.State, error) {
	state, err := m.p.Load(ctx, dir, env)
	if err != nil {
		return nil, state, err
	}
	alone := Module{p: m.p}
	alone.p.Folder = func(string) (string, error) { return "/", nil } // files are not built, and not asked for
	snap, err := snapshot.Merge(snapshot.Version{Revision: state.Revision}, append(m.p.Others(state), alone.Fragment(state))...)
	return snap, state, err
}

// explain says what would become of a request by the snapshot in force, or by that of a blueprint.
func (m *Module) explain(ctx context.Context, in gateway.RouteIn) (gateway.Route, error) {
	var snap *snapshot.Snapshot
	var state core.State
	if in.Blueprint != "" {
		var err error
		if snap, state, err = m.written(ctx, in.Blueprint, in.Env); err != nil {
			return gateway.Route{}, err
		}
	} else if snap, state = m.p.Snapshot(), m.p.State(); snap == nil {
		return gateway.Route{}, fault.New(fault.Unavailable, "explain route", "the node has no snapshot yet").WithHint("Apply a blueprint: stoa apply DIR. Of one that is not applied: --blueprint DIR.")
	}
	req, path, err := requestOf(in)
	if err != nil {
		return gateway.Route{}, err
	}
	name, err := listenerOf(snap, in)
	if err != nil {
		return gateway.Route{}, err
	}
	table, _ := route.Compile(snap.Listeners[name].Routes)
	e := table.ExplainRequest(in.Host, in.Method, path, req)
	out := gateway.Route{
		Answer: answer(snap, e), Revision: snap.Version.Revision, Listener: name, Status: e.Status, Location: e.Location, Target: e.Target, Rules: []gateway.Verdict{},
	}
	for _, v := range verdicts(e.Verdicts) {
		if v.Result == "" {
			out.Others++
			continue
		}
		out.Rules = append(out.Rules, v)
	}
	if e.Rule == nil || e.Status == http.StatusBadRequest {
		return out, nil
	}
	s := settler{declared: declaredIn(state, snap, e.Rule.Source), single: single(state, snap, sides(e)), edge: snap.Listeners[name].Edge(), method: in.Method, key: req.headers.Get("Idempotency-Key") != ""}
	p := snap.Policies[e.Rule.Policy]
	called := e.Rule.Upstream != "" || len(e.Rule.Split) > 0
	out.Settings = s.policy(p, called)
	out.Settings = append(out.Settings, s.rule(snap, e.Rule)...)
	for _, side := range sides(e) {
		out.Callees = append(out.Callees, gateway.Callee{
			Service: snap.ServiceOf(side.Upstream), Upstream: side.Upstream, Percent: side.Percent, Settings: s.traffic(snap, side.Upstream),
		})
	}
	return out, nil
}

// single gives the services that a request may go to of which there is one instance; nil if
// there is one with several.
func single(state core.State, snap *snapshot.Snapshot, sides []route.Share) (names []string) {
	if state.Revision != snap.Version.Revision {
		return nil
	}
	for _, side := range sides {
		name := snap.ServiceOf(side.Upstream)
		doc, ok := state.Docs[core.Ref{Kind: core.KindService, Name: name}]
		if !ok || workload.ScaleSection.Of(doc).Min > 1 || len(workload.RunSection.Of(doc).External) > 1 {
			return nil
		}
		names = append(names, name)
	}
	return names
}

// sides gives where a request may go.
func sides(e route.Explanation) []route.Share {
	if e.Rule.Upstream != "" {
		return []route.Share{{Upstream: e.Rule.Upstream, Percent: 100}}
	}
	return e.Split
}

// answer says in a sentence what becomes of a request.
func answer(snap *snapshot.Snapshot, e route.Explanation) string {
	what := e.Method + " " + e.Host + e.Path
	switch {
	case e.Status == http.StatusBadRequest && e.Canonical != "":
		return fmt.Sprintf("%s is refused with 400: %s", what, e.Canonical)
	case e.Status == http.StatusBadRequest:
		return fmt.Sprintf("%s is refused with 400: the host %q cannot stand in a redirect", what, e.Host)
	case e.Status == http.StatusNotFound:
		return what + " is answered with 404: no rule matches"
	case e.Status == http.StatusMethodNotAllowed:
		return fmt.Sprintf("%s is answered with 405: there it may be %s", what, strings.Join(e.Allowed, ", "))
	case e.Location != "":
		return fmt.Sprintf("%s is redirected with %d to %s", what, e.Status, e.Location)
	case e.Rule.Site != "":
		return fmt.Sprintf("%s is answered with a file of %s, %s", what, e.Rule.Site, e.Target)
	}
	var to []string
	for _, s := range sides(e) {
		switch {
		case len(e.Split) == 0:
			to = append(to, s.Upstream)
		case s.Percent > 0:
			to = append(to, fmt.Sprintf("%s (%.4g %%)", s.Upstream, s.Percent))
		}
	}
	return fmt.Sprintf("%s goes to %s as %s", what, strings.Join(to, " or "), e.Target)
}

// verdicts gives what became of the rules: the winner, those that match too, those that
// nearly do, and the others with no result.
func verdicts(all []route.Verdict) []gateway.Verdict {
	order := []string{"won", "lost", "near", ""}
	var out []gateway.Verdict
	for _, v := range all {
		g := gateway.Verdict{Name: v.Name, Pattern: v.Pattern, Source: v.Source, Why: v.Why}
		switch {
		case v.Won:
			g.Result = "won"
		case v.Matched:
			g.Result = "lost"
		case v.Near, v.PathFits:
			g.Result = "near"
		}
		out = append(out, g)
	}
	slices.SortStableFunc(out, func(a, b gateway.Verdict) int { return slices.Index(order, a.Result) - slices.Index(order, b.Result) })
	return out
}

// request is a request as conditions read it.
type request struct {
	headers http.Header
	query   string
}

// Header gives a field, its lines joined.
func (r request) Header(name string) (string, bool) {
	v := r.headers.Values(name)
	return strings.Join(v, ", "), len(v) > 0
}

// Query gives the raw query.
func (r request) Query() string { return r.query }

// requestOf reads what is asked for.
func requestOf(in gateway.RouteIn) (r request, path string, err error) {
	r.headers = http.Header{}
	path, r.query, _ = strings.Cut(in.Path, "?")
	if !strings.HasPrefix(path, "/") {
		return r, "", fault.New(fault.Invalid, "PATH", "%q does not begin with /", in.Path).WithHint("Give the path and query alone, and the host as --host.")
	}
	for _, h := range in.Headers {
		name, value, ok := strings.Cut(h, "=")
		if !ok || name == "" {
			return r, "", fault.New(fault.Invalid, "--header", "%q: want NAME=VALUE", h).WithHint("As in --header X-Beta=1.")
		}
		r.headers.Add(name, value)
	}
	return r, path, nil
}

// listenerOf finds where the request would arrive.
func listenerOf(snap *snapshot.Snapshot, in gateway.RouteIn) (string, error) {
	if in.From == "" {
		if in.To != "" {
			return "", fault.New(fault.Invalid, "--to", "says whom a service calls, and none is named").WithHint("Add --from SERVICE.")
		}
		if _, ok := snap.Listeners[gateway.ListenerName]; !ok {
			return "", fault.New(fault.NotFound, gateway.ListenerName, "the node has no gateway")
		}
		return gateway.ListenerName, nil
	}
	var uses, callers []string
	for _, name := range slices.Sorted(maps.Keys(snap.Listeners)) {
		if l := snap.Listeners[name]; l.Caller == in.From {
			uses = append(uses, strings.TrimPrefix(name, mesh.Listener(in.From, "")))
		} else if l.Caller != "" && !slices.Contains(callers, l.Caller) {
			callers = append(callers, l.Caller)
		}
	}
	switch {
	case len(uses) == 0:
		return "", fault.New(fault.NotFound, "--from", "there is no service %q that uses others", in.From).WithHint("%s", sentence(nearest.Hint(in.From, callers)))
	case in.To == "" && len(uses) > 1:
		return "", fault.New(fault.Invalid, "--to", "service/%s uses several", in.From).WithHint("Give --to, one of %s.", strings.Join(uses, ", "))
	}
	to := uses[0]
	if in.To != "" {
		if !slices.Contains(uses, in.To) {
			return "", fault.New(fault.NotFound, "--to", "service/%s does not use %q: it has no address for it", in.From, in.To).WithHint("%s", sentence(nearest.Hint(in.To, uses)))
		}
		to = in.To
	}
	name := mesh.Listener(in.From, to)
	if snap.Listeners[name].Protocol == snapshot.TCP {
		return "", fault.New(fault.Invalid, "--to", "service/%s is called by tcp, where there are no requests", to)
	}
	return name, nil
}

// sentence makes a hint one.
func sentence(hint string) string {
	if hint == "" {
		return ""
	}
	return strings.ToUpper(hint[:1]) + hint[1:]
}

// declared is what the documents say of a call.
type declared struct {
	known    bool // the documents are those of the snapshot
	source   string
	policy   core.EdgePolicy
	defaults mesh.Defaults
	traffic  func(service string) mesh.Traffic
}

// declaredIn finds what is declared where a rule comes from: "service/orders uses[1]".
func declaredIn(state core.State, snap *snapshot.Snapshot, source string) declared {
	d := declared{source: source}
	if state.Revision != snap.Version.Revision {
		return d
	}
	name, field, _ := strings.Cut(source, " ")
	ref, err := core.ParseRef(name)
	doc, ok := state.Docs[ref]
	if err != nil || !ok {
		return d
	}
	var i int
	d.known, d.defaults = true, mesh.DefaultsOf(state)
	if _, err := fmt.Sscanf(field, "uses[%d]", &i); err == nil {
		if all := mesh.UsesSection.Of(doc); i < len(all) {
			d.policy.Policy = all[i].Policy
		}
	} else if _, err := fmt.Sscanf(field, "expose[%d]", &i); err == nil {
		if all := gateway.ExposeSection.Of(doc); i < len(all) {
			d.policy = all[i].EdgePolicy
		}
	}
	d.traffic = func(service string) mesh.Traffic {
		return mesh.TrafficSection.Of(state.Docs[core.Ref{Kind: core.KindService, Name: service}])
	}
	return d
}

// printRoute gives the text view: what becomes of it, why, and how.
func printRoute(w io.Writer, r gateway.Route) {
	fmt.Fprintln(w, r.Answer)
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, v := range r.Rules {
		fmt.Fprintf(t, "  %s\t%s\t%s\n\t\t%s\n", v.Result, v.Pattern, v.Source, v.Why)
	}
	t.Flush()
	switch r.Others {
	case 0:
	case 1:
		fmt.Fprintln(w, "  1 other rule is for another host or path")
	default:
		fmt.Fprintf(w, "  %d other rules are for other hosts or paths\n", r.Others)
	}
	printSettings(w, r.Settings, "The call")
	for _, c := range r.Callees {
		head := "At " + c.Upstream
		if c.Percent < 100 {
			head += fmt.Sprintf(", to which %.4g %% go", c.Percent)
		}
		printSettings(w, c.Settings, head)
	}
}

func printSettings(w io.Writer, all []gateway.Setting, head string) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s:\n", head)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range all {
		fmt.Fprintf(t, "  %s\t%s\t(%s)\n", s.Name, s.Value, s.From)
	}
	t.Flush()
}
