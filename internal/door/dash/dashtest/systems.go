package dashtest

import (
	"fmt"
	"hash/fnv"
	"math"
	"time"

	"stoa/api/core"
	"stoa/api/inject"
	"stoa/api/mesh"
	"stoa/api/telemetry"
	"stoa/api/workload"
)

// Systems names the systems that can be shown.
func Systems() []string {
	return []string{"empty", "hello", "shop", "trouble", "gameday", "big", "huge"}
}

// A system is an architecture and how it is doing.
type system struct {
	graph  mesh.Graph
	rates  map[string]float64 // "from>to": requests a second when all is well
	errors map[string]float64 // share of errors, of edges that have some
	state  map[string]workload.Service
	guards []telemetry.Guard
	faults []inject.Fault // those first that end first
}

func build(name string) *system {
	s := &system{rates: map[string]float64{}, errors: map[string]float64{}, state: map[string]workload.Service{}}
	switch name {
	case "empty":
		s.graph.System = "blank"
	case "hello":
		s.graph.System = "hello"
		s.node("hello", "", "go", []string{"/"})
		s.node("greeter", "", "command", nil)
		s.node("names", "", "go", nil, "db sqlite")
		s.edge("gateway", "hello", "http", 3.2)
		s.edge("hello", "greeter", "http", 3.2)
		s.edge("greeter", "names", "http", 1.4)
	case "shop", "trouble", "gameday":
		shop(s)
		switch name {
		case "trouble":
			s.ail()
		case "gameday":
			s.game(time.Now())
		}
	case "big":
		grid(s, 60, 8, 112)
		s.state["billing-04"] = workload.Service{State: workload.StatePartial, Ready: 1, LastError: "exit 137, 2 times in 5 min"}
		s.errors["gateway>"+s.graph.Nodes[0].Name] = 0.004
	case "huge":
		grid(s, 500, 24, 1300)
	default:
		panic("dashtest: no system " + name)
	}
	return s
}

func shop(s *system) {
	s.graph.System = "shop"
	s.graph.Contexts = []string{"catalog", "payments", "sales", "shipping", "warehouse"}
	s.node("storefront", "", "go", []string{"/"})
	s.node("orders", "sales", "go", []string{"/orders"}, "db sqlite")
	s.node("cart", "sales", "go", []string{"/cart"}, "carts sqlite")
	s.node("catalog", "catalog", "go", []string{"/catalog"}, "db sqlite")
	s.node("inventory", "warehouse", "go", nil, "stock sqlite")
	s.node("payments", "payments", "go", nil, "ledger sqlite")
	s.node("shipping", "shipping", "command", nil)
	s.node("legacy-erp", "warehouse", "external", nil)
	s.edge("gateway", "storefront", "http", 31)
	s.edge("gateway", "orders", "http", 4.1)
	s.edge("storefront", "catalog", "http", 24)
	s.edge("storefront", "cart", "http", 12)
	s.edge("storefront", "orders", "http", 2.6)
	s.edge("cart", "catalog", "http", 9.4)
	s.edge("orders", "inventory", "h2c", 6.2)
	s.edge("orders", "payments", "http", 5.9)
	s.edge("orders", "shipping", "http", 5.5)
	s.edge("catalog", "inventory", "h2c", 3.3)
	s.edge("inventory", "legacy-erp", "http", 0.2)
	s.edge("shipping", "legacy-erp", "http", 0)
}

// ail makes the shop ill in the ways that a page must tell apart.
func (s *system) ail() {
	s.state["payments"] = workload.Service{State: workload.StateCrashing, Restarts: 5, LastError: "exit 1, 5 times in 2 min\npanic: ledger: open /data/ledger.db: permission denied\n\ngoroutine 1 [running]:\nmain.main()"}
	s.state["cart"] = workload.Service{State: workload.StateStarting}
	s.state["shipping"] = workload.Service{State: workload.StateStopped}
	s.rates["orders>payments"] = 5.9
	s.errors["orders>payments"] = 1
	s.errors["storefront>orders"] = 0.38
	s.errors["gateway>orders"] = 0.4
	s.errors["gateway>storefront"] = 0.02
	s.rates["orders>shipping"] = 0
}

func (s *system) node(name, context, form string, exposed []string, stores ...string) {
	s.graph.Nodes = append(s.graph.Nodes, mesh.Node{Name: name, Context: context, Form: form, Exposed: exposed, Stores: stores})
}

func (s *system) edge(from, to, protocol string, rate float64) {
	key := from + ">" + to
	if _, ok := s.rates[key]; ok || from == to {
		return
	}
	s.graph.Edges = append(s.graph.Edges, mesh.Edge{From: from, To: to, Protocol: protocol})
	s.rates[key] = rate
}

// grid makes a system of n services in c contexts with some e calls, always the same one.
func grid(s *system, n, c, e int) {
	s.graph.System = fmt.Sprintf("atlas-%d", n)
	contexts := []string{"accounts", "billing", "catalog", "content", "fleet", "identity", "pricing", "search"}
	for i := len(contexts); i < c; i++ {
		contexts = append(contexts, fmt.Sprintf("domain-%02d", i))
	}
	per := (n + c - 1) / c
	for i := range n {
		x := contexts[i/per]
		var stores []string
		if i%3 == 0 {
			stores = []string{"db sqlite"}
		}
		var exposed []string
		if i%per == 0 {
			exposed = []string{"/" + x}
		}
		s.node(fmt.Sprintf("%s-%02d", x, i%per), x, "go", exposed, stores...)
	}
	s.graph.Contexts = contexts[:c]
	seed := uint32(7)
	next := func(m int) int { seed = seed*1664525 + 1013904223; return int(seed>>8) % m }
	for i := range n {
		if i%per == 0 {
			s.edge("gateway", s.graph.Nodes[i].Name, "http", 3+float64(next(60)))
		}
	}
	for k := 0; len(s.graph.Edges) < e && k < 40*e; k++ {
		// Most calls stay in their context or lead to a later one, as in life.
		a := next(n)
		b := a/per*per + next(per)
		if next(4) == 0 {
			b = next(n)
		}
		if b > a && b < n {
			s.edge(s.graph.Nodes[a].Name, s.graph.Nodes[b].Name, "http", float64(next(240))/10)
		}
	}
}

// wobble gives a factor near 1 that moves slowly with time, of its own for each key.
func wobble(key string, t time.Time) float64 {
	h := fnv.New32a()
	h.Write([]byte(key))
	phase := float64(h.Sum32()%628) / 100
	sec := float64(t.UnixMilli()) / 1000
	return 1 + 0.22*math.Sin(sec/7+phase) + 0.08*math.Sin(sec/1.9+2*phase)
}

func (s *system) top(t time.Time) telemetry.TopOut {
	out := telemetry.TopOut{At: core.At(t), Guards: s.guards}
	if s.guards == nil {
		out.Guards = s.rest(s.graph.Nodes)
	}
	for _, e := range s.graph.Edges {
		key := e.From + ">" + e.To
		r := s.rates[key] * wobble(key, t)
		x := telemetry.EdgeRate{From: e.From, To: e.To, Rate: r, Total: uint64(r * 600)}
		if r > 0 {
			x.ErrorRate = s.errors[key]
			x.P50Millis = 1.2 * wobble(key+"p", t) * float64(2+len(e.To)%5)
			x.P99Millis = x.P50Millis * 3.7
			x.InFlight = int(r / 20)
		}
		out.Edges = append(out.Edges, x)
	}
	return out
}

// status gives the status of every service; began is when they all started.
func (s *system) status(t, began time.Time, stopped map[string]bool) []workload.Service {
	top := s.top(t)
	var out []workload.Service
	for i, n := range s.graph.Nodes {
		x := workload.Service{Name: n.Name, Context: n.Context, State: workload.StateReady, Ready: 1 + i%5/3, Desired: 1 + i%5/3}
		if ill, ok := s.state[n.Name]; ok {
			x.State, x.Ready, x.LastError, x.Restarts = ill.State, ill.Ready, ill.LastError, ill.Restarts
			if x.State == workload.StatePartial {
				x.Desired = x.Ready + 1
			}
		}
		x.Faults = s.told(n.Name)
		if n.Form == "external" {
			x.State = workload.StateExternal
		}
		if stopped[n.Name] {
			x.State, x.LastError = workload.StateStopped, ""
		}
		if x.State == workload.StateStopped {
			x.Ready = 0
		}
		weight := 0.0
		for _, e := range top.Edges {
			if e.To == n.Name && e.Rate > 0 {
				x.Rate += e.Rate
				weight += e.Rate * e.ErrorRate
				x.P99Millis = max(x.P99Millis, e.P99Millis)
			}
		}
		if x.Rate > 0 {
			x.ErrorRate = weight / x.Rate
		}
		x.Address = fmt.Sprintf("127.0.0.1:%d", 41000+i*7)
		for k := range x.Desired {
			st := "ready"
			switch {
			case x.State == workload.StateExternal:
			case x.State == workload.StateCrashing:
				st = "backoff"
			case k >= x.Ready && x.State != workload.StateReady:
				st = "starting"
			}
			if x.State == workload.StateStopped {
				break
			}
			x.Instances = append(x.Instances, workload.Instance{
				ID: fmt.Sprintf("%s-%d", n.Name, k+1), State: st, PID: 4100 + 10*i + k, Address: fmt.Sprintf("127.0.0.1:%d", 41000+i*7+k),
				Release: "9f31c07be2d4", Restarts: x.Restarts, Started: core.At(began),
			})
		}
		out = append(out, x)
	}
	return out
}
