package mesh

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/gateway"
	"stoa/api/mesh"
	"stoa/api/op"
	"stoa/api/stores"
	"stoa/api/workload"
)

func (m *Module) graph(ctx context.Context, in mesh.GraphIn) (mesh.Graph, error) {
	if in.Format != "" && in.Format != "text" && in.Format != "mermaid" {
		return mesh.Graph{}, fault.New(fault.Invalid, "--format", "%q: want text or mermaid", in.Format).WithHint("For JSON use --json.")
	}
	dir := in.Dir
	if dir == "" {
		dir = "."
	}
	state, err := m.p.Load(ctx, dir, in.Env)
	if err != nil {
		return mesh.Graph{}, err
	}
	g := draw(state)
	g.Format = in.Format
	return g, nil
}

func (m *Module) applied(context.Context, op.None) (mesh.Graph, error) { return draw(m.p.State()), nil }

// draw gives the graph of the documents, in the order of their names.
func draw(state core.State) mesh.Graph {
	g := mesh.Graph{Nodes: []mesh.Node{}, Edges: []mesh.Edge{}}
	if sys, ok := state.System(); ok {
		g.System = sys.Name
	}
	for _, c := range state.Of(core.KindContext) {
		g.Contexts = append(g.Contexts, c.Name)
	}
	for _, doc := range state.Of(core.KindService) {
		run := workload.RunSection.Of(doc)
		n := mesh.Node{Name: doc.Name, Context: doc.Context, Form: form(run)}
		for _, e := range gateway.ExposeSection.Of(doc) {
			if e.Redirect == nil && e.Split == nil {
				n.Exposed = append(n.Exposed, e.Host+e.Path)
			}
			for _, to := range leadsTo(doc.Name, e) {
				if edge := (mesh.Edge{From: "gateway", To: to, Protocol: workload.HTTP}); !slices.Contains(g.Edges, edge) {
					g.Edges = append(g.Edges, edge)
				}
			}
		}
		for _, s := range stores.StoresSection.Of(doc) {
			n.Stores = append(n.Stores, s.Name+" "+s.Engine)
		}
		g.Nodes = append(g.Nodes, n)
		if n.Context != "" && !slices.Contains(g.Contexts, n.Context) { // one that keeps no map
			g.Contexts = append(g.Contexts, n.Context)
		}
		for _, u := range mesh.UsesSection.Of(doc) {
			_, l, ok := target(state, u)
			if ok {
				g.Edges = append(g.Edges, mesh.Edge{From: doc.Name, To: u.Service, Protocol: l.Protocol})
			}
		}
	}
	g.Edges = slices.CompactFunc(g.Edges, func(a, b mesh.Edge) bool { return a == b })
	also := map[string][]string{}
	for _, doc := range state.Of(core.KindService) {
		for _, e := range gateway.ExposeSection.Of(doc) {
			inPart(doc.Name, e, func(service, text string) { also[service] = append(also[service], e.Host+e.Path+" ("+text+")") })
		}
	}
	for i := range g.Nodes {
		g.Nodes[i].Also = also[g.Nodes[i].Name]
	}
	return g
}

// inPart calls add for each service that a path leads to in part or in some cases only, and
// for the one that exposes it if it leads elsewhere.
func inPart(service string, e gateway.Expose, add func(service, text string)) {
	if e.Redirect != nil {
		add(service, "redirects to "+e.Redirect.To)
		return
	}
	sum := 0
	for _, s := range e.Split {
		sum += s.Weight
	}
	for _, s := range e.Split {
		if sum > 0 {
			add(s.Service, fmt.Sprintf("%.4g %%", 100*float64(s.Weight)/float64(sum)))
		}
	}
	if e.Mirror != nil {
		add(e.Mirror.Service, "mirror")
	}
	if e.Fallback != nil && e.Fallback.Service != "" {
		add(e.Fallback.Service, "fallback")
	}
}

// leadsTo gives the services that requests of a path of the gateway come to.
func leadsTo(service string, e gateway.Expose) []string {
	if e.Redirect != nil {
		return nil
	}
	to := []string{service}
	if e.Split != nil {
		to = nil
	}
	for _, s := range e.Split {
		to = append(to, s.Service)
	}
	if e.Mirror != nil {
		to = append(to, e.Mirror.Service)
	}
	if e.Fallback != nil && e.Fallback.Service != "" {
		to = append(to, e.Fallback.Service)
	}
	return to
}

func form(r workload.Run) string {
	switch {
	case r.Go != "":
		return "go"
	case len(r.Command) > 0:
		return "command"
	case r.Static != "":
		return "static"
	}
	return "external"
}

func printGraph(w io.Writer, g mesh.Graph) {
	if g.Format == "mermaid" {
		mermaid(w, g)
		return
	}
	fmt.Fprintln(w, g.System)
	groups := append(slices.Clone(g.Contexts), "")
	for _, c := range groups {
		first := true
		for _, n := range g.Nodes {
			if n.Context != c {
				continue
			}
			if first && c != "" {
				fmt.Fprintf(w, "\n  context %s\n", c)
			} else if first {
				fmt.Fprintln(w)
			}
			first = false
			fmt.Fprintf(w, "    %s (%s)\n", n.Name, n.Form)
			for _, e := range n.Exposed {
				fmt.Fprintf(w, "      <- gateway %s\n", e)
			}
			for _, e := range n.Also {
				fmt.Fprintf(w, "      <- gateway %s\n", e)
			}
			for _, e := range g.Edges {
				if e.From == n.Name {
					fmt.Fprintf(w, "      -> %s (%s)\n", e.To, e.Protocol)
				}
			}
			for _, s := range n.Stores {
				fmt.Fprintf(w, "      == %s\n", s)
			}
		}
	}
}

// mermaid draws a flowchart. Names are DNS labels, so they need no escaping where they are
// shown. Ids get a letter in front, because "end" is a word of the language, and no
// hyphen, because two of them are an arrow.
func mermaid(w io.Writer, g mesh.Graph) {
	id := func(parts ...string) string { return strings.ReplaceAll(strings.Join(parts, "_"), "-", "_") }
	fmt.Fprintln(w, "flowchart LR")
	fmt.Fprintln(w, "  gateway([gateway])")
	for _, c := range append(slices.Clone(g.Contexts), "") {
		indent := "  "
		if c != "" {
			fmt.Fprintf(w, "  subgraph %s [%s]\n", id("c", c), c)
			indent = "    "
		}
		for _, n := range g.Nodes {
			if n.Context != c {
				continue
			}
			fmt.Fprintf(w, "%s%s[%s]\n", indent, id("n", n.Name), n.Name)
			for _, s := range n.Stores {
				store, _, _ := strings.Cut(s, " ")
				fmt.Fprintf(w, "%s%s[(%s)]\n", indent, id("s", n.Name, store), store)
				fmt.Fprintf(w, "%s%s --- %s\n", indent, id("n", n.Name), id("s", n.Name, store))
			}
		}
		if c != "" {
			fmt.Fprintln(w, "  end")
		}
	}
	for _, e := range g.Edges {
		if e.From == "gateway" {
			fmt.Fprintf(w, "  gateway --> %s\n", id("n", e.To))
		} else {
			fmt.Fprintf(w, "  %s -->|%s| %s\n", id("n", e.From), e.Protocol, id("n", e.To))
		}
	}
}
