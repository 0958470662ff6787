package inject

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/gateway"
	api "stoa/api/inject"
	"stoa/api/mesh"
	"stoa/api/op"
	"stoa/api/platform"
	"stoa/api/workload"
	engine "stoa/internal/engine/inject"
	"stoa/internal/ground/nearest"
)

// How long a fault lasts.
const (
	usual    = 5 * time.Minute // unless it is said
	shortest = time.Second
)

// inject makes a fault.
func (m *Module) inject(ctx context.Context, in api.FaultIn) (api.Fault, error) {
	state := m.p.State()
	if err := reachable(state, in.Service, in.From); err != nil {
		return api.Fault{}, err
	}
	lasts := cmp.Or(in.For.D(), usual)
	if lasts < shortest || lasts > engine.MaxAhead {
		return api.Fault{}, fault.New(fault.Invalid, "for", "%s is not between %s and %s", in.For, core.Duration(shortest), core.Duration(engine.MaxAhead)).
			WithHint("Give less, and ask again when it is over: --for 1h.")
	}
	header, err := headerOf(in.Header)
	if err != nil {
		return api.Fault{}, err
	}
	who := platform.WhoOf(op.CallerOf(ctx)).String()

	m.expire(ctx)
	m.changing.Lock()
	defer m.changing.Unlock()
	now := time.Now()
	r := record{Began: now.UnixNano(), Fault: engine.Fault{
		ID: in.Name, Callee: in.Service, Caller: in.From, Header: header,
		Percent: float64(cmp.Or(in.Percent, 100)), Delay: in.Delay.D(), Jitter: in.Jitter.D(), Abort: in.Abort,
		Until: now.Add(lasts).UnixNano(), Reason: in.Reason, By: who,
	}}
	if in.From == api.FromGateway {
		r.Caller = engine.Outside
	}
	faults, number := m.all(), 0
	if r.ID == "" {
		r.ID, number = m.name(in.Service, faults, state)
	} else if err := core.CheckName(r.ID); err != nil {
		return api.Fault{}, err
	}
	if err := checked(r.Fault, now.UnixNano()); err != nil {
		return api.Fault{}, err
	}
	if slices.ContainsFunc(faults, func(o record) bool { return o.ID == r.ID }) {
		return api.Fault{}, fault.New(fault.Conflict, r.ID, "there is a fault of this name").WithHint("Give it another --name, or end that one: stoa faults clear %s.", r.ID)
	}
	if len(faults) >= engine.MaxFaults {
		return api.Fault{}, fault.New(fault.Exhausted, r.ID, "%d faults are injected already, as many as may be", len(faults)).WithHint("End some: stoa faults clear %s.", faults[0].ID)
	}

	faults = append(faults, r)
	if err := m.keep(ctx, faults); err != nil { // before it acts: what acts must be known after a restart
		return api.Fault{}, err
	}
	if number > 0 {
		m.names[in.Service] = number
	}
	m.put(faults)
	m.o.Log.Info("a fault is injected", attributes(r)...)
	return shown(r, engine.Hits{}), nil
}

// name gives the next fault of a service a name that none of this platform's has had
// since it started, nor any that was in force then. The number is to be kept once the fault is in force.
func (m *Module) name(service string, faults []record, state core.State) (name string, number int) {
	for number = m.names[service] + 1; ; number++ {
		name = service + "-" + strconv.Itoa(number)
		_, isService := state.Docs[core.Ref{Kind: core.KindService, Name: name}]
		if !isService && !slices.ContainsFunc(faults, func(r record) bool { return r.ID == name }) {
			return name, number
		}
	}
}

// numberOf gives the number of a name that Module.name made, or 0.
func numberOf(f engine.Fault) int {
	text, ok := strings.CutPrefix(f.ID, f.Callee+"-")
	n, err := strconv.Atoi(text)
	if !ok || err != nil || n < 0 || n > 1<<30 {
		return 0
	}
	return n
}

// checked gives everything that is wrong with a fault as one error, with the hint of the first.
func checked(f engine.Fault, now int64) error {
	var first, hint string
	var all []string
	f.Check(now, func(path, text, h string) {
		if path == "until" {
			path = "for"
		}
		if first == "" {
			first, hint = path, h
			all = append(all, text)
			return
		}
		all = append(all, path+": "+text)
	})
	if first == "" {
		return nil
	}
	return fault.New(fault.Invalid, first, "%s", strings.Join(all, "; ")).WithHint("%s", hint)
}

// headerOf reads "NAME" or "NAME: VALUE".
func headerOf(text string) (engine.Header, error) {
	if text == "" {
		return engine.Header{}, nil
	}
	name, value, hasValue := strings.Cut(text, ":")
	h := engine.Header{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)}
	bad := ""
	switch {
	case h.Name == "" || strings.ContainsFunc(h.Name, func(r rune) bool { return !tokenRune(r) }):
		bad = fmt.Sprintf("%q is no name of a header", h.Name)
	case hasValue && h.Value == "":
		bad = "there is no value after the colon"
	default:
		return h, nil
	}
	return h, fault.New(fault.Invalid, "header", "%s", bad).WithHint("Give NAME, or 'NAME: VALUE', such as --header 'X-Test-Fault: yes'.")
}

// tokenRune says whether r may stand in the name of a header. RFC 9110, section 5.6.2.
func tokenRune(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r < 0x80 && strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// reachable says why no call could ever meet a fault of the service, or of its calls by from.
func reachable(state core.State, service, from string) error {
	doc, err := serviceOf(state, service)
	if err != nil {
		return err
	}
	ref := doc.Ref().String()
	if workload.RunSection.Of(doc).Static != "" {
		return fault.New(fault.Invalid, ref, "is files that the gateway serves by itself: there is no call that could fail").
			WithHint("Inject into a service that is called: see stoa map.")
	}
	listeners := workload.Listeners(doc)
	if !slices.ContainsFunc(listeners, func(l workload.Listen) bool { return l.Protocol != workload.TCP }) {
		return fault.New(fault.Invalid, ref, "is not called by HTTP or gRPC: only such calls can meet a fault").
			WithHint("Inject into a service that is: see stoa map.")
	}
	exposed := len(gateway.ExposeSection.Of(doc)) > 0
	var callers []string
	if exposed {
		callers = append(callers, api.FromGateway)
	}
	for _, d := range state.Of(core.KindService) {
		if slices.ContainsFunc(mesh.UsesSection.Of(d), func(u mesh.Use) bool { return u.Service == service }) {
			callers = append(callers, d.Name)
		}
	}
	if from == "" || slices.Contains(callers, from) {
		return nil
	}
	if _, err := serviceOf(state, from); from != api.FromGateway && err != nil {
		return fault.New(fault.NotFound, "service/"+from, "not found").WithHint("%s", nearest.Sentence(from, callers))
	}
	hint := "Nobody calls it: declare who does in uses or expose."
	if len(callers) > 0 {
		hint = "These do: " + strings.Join(callers, ", ") + "."
	}
	return fault.New(fault.Invalid, "from", "%s does not call %s, so no call would meet the fault", from, service).WithHint("%s", hint)
}

func serviceOf(state core.State, name string) (core.Document, error) {
	ref := core.Ref{Kind: core.KindService, Name: name}
	if doc, ok := state.Docs[ref]; ok {
		return doc, nil
	}
	var names []string
	for _, d := range state.Of(core.KindService) {
		names = append(names, d.Name)
	}
	hint := "No service is in force: stoa apply DIR puts in force what a blueprint declares."
	if len(names) > 0 {
		hint = nearest.Sentence(name, names)
	}
	return core.Document{}, fault.New(fault.NotFound, ref.String(), "not found").WithHint("%s", hint)
}

// list gives the faults in force.
func (m *Module) list(_ context.Context, in api.FaultsIn) (api.Faults, error) {
	if in.Service != "" {
		if _, err := serviceOf(m.p.State(), in.Service); err != nil {
			return api.Faults{}, err
		}
	}
	out := api.Faults{Faults: []api.Fault{}}
	now, hits := time.Now().UnixNano(), m.hits()
	for _, r := range m.all() {
		if r.Until > now && (in.Service == "" || r.Callee == in.Service) {
			out.Faults = append(out.Faults, shown(r, hits[r.ID]))
		}
	}
	return out, nil
}

// clear ends faults, by their names and those of services; all without one.
func (m *Module) clear(ctx context.Context, in api.ClearIn) (api.Cleared, error) {
	var names []string // of faults, and of all services
	for _, r := range m.all() {
		names = append(names, r.ID)
	}
	services := m.p.State().Of(core.KindService)
	for _, d := range services {
		names = append(names, d.Name)
	}
	for _, what := range in.What {
		if !slices.Contains(names, what) {
			hint := "Nothing is injected."
			if len(names) > len(services) {
				hint = cmp.Or(nearest.Sentence(what, names[:len(names)-len(services)]), "See stoa faults.")
			}
			return api.Cleared{}, fault.New(fault.NotFound, what, "there is no fault and no service of this name; nothing was ended").WithHint("%s", hint)
		}
	}
	why := "cleared by " + platform.WhoOf(op.CallerOf(ctx)).String()
	dropped, err := m.drop(ctx, why, func(r record, _ int64) bool {
		return len(in.What) == 0 || slices.Contains(in.What, r.ID) || slices.Contains(in.What, r.Callee)
	})
	out := api.Cleared{Faults: []api.Fault{}}
	for _, r := range dropped {
		out.Faults = append(out.Faults, shown(r, r.hits))
	}
	if err != nil {
		return out, &fault.Error{Op: "inject.clear", Kind: fault.KindOf(err), Hint: fault.HintOf(err),
			Err: fmt.Errorf("no longer injected, but this could not be kept: a restart of Stoa would bring it back until its time is over: %w", err)}
	}
	return out, nil
}
