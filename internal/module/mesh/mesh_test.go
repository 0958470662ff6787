package mesh

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"stoa/api/blueprint"
	"stoa/api/core"
	"stoa/api/mesh"
	"stoa/internal/engine/breaker"
	"stoa/internal/engine/snapshot"
	"stoa/internal/kernel/host"
)

// doc makes a service of its sections, given as JSON.
func doc(name, context string, sections ...string) core.Document {
	d := core.Document{Kind: core.KindService, Name: name, Context: context, Sections: map[string]json.RawMessage{}}
	for i := 0; i < len(sections); i += 2 {
		d.Sections[sections[i]] = json.RawMessage(sections[i+1])
	}
	return d
}

func state(docs ...core.Document) core.State {
	s := core.State{Revision: 7, Docs: map[core.Ref]core.Document{}}
	for _, d := range docs {
		s.Docs[d.Ref()] = d
	}
	return s
}

const goProgram = `{"go":"."}`

// system is a small one: orders calls inventory by gRPC, queue by TCP and erp outside.
func system() core.State {
	return state(
		doc("orders", "", "run", goProgram, "uses", `[{"service":"inventory","as":{"INV":"addr","INV_PORT":"port"}},{"service":"queue"},{"service":"erp"}]`),
		doc("inventory", "", "run", goProgram, "listen", `[{"env":"PORT","protocol":"h2c"},{"env":"ADMIN","name":"admin"}]`),
		doc("queue", "", "run", goProgram, "listen", `[{"env":"PORT","protocol":"tcp"}]`),
		doc("erp", "", "run", `{"external":["https://erp.example"]}`),
		doc("web", "", "run", `{"static":"dist"}`),
	)
}

// Every port that can be called is an upstream, every use a listener of the caller's own.
func TestFragment(t *testing.T) {
	f := Fragment(system())
	if got := slices.Sorted(maps.Keys(f.Upstreams)); !slices.Equal(got, []string{"erp", "inventory", "inventory/admin", "orders", "queue"}) {
		t.Errorf("upstreams %v", got)
	}
	for name, want := range map[string]snapshot.Protocol{"orders": snapshot.HTTP1, "inventory": snapshot.H2C, "queue": snapshot.TCP, "erp": snapshot.HTTPS} {
		if got := f.Upstreams[name].Protocol; got != want {
			t.Errorf("upstream %s speaks %s, want %s", name, got, want)
		}
	}
	if got := slices.Sorted(maps.Keys(f.Listeners)); !slices.Equal(got, []string{"orders>erp", "orders>inventory", "orders>queue"}) {
		t.Errorf("listeners %v", got)
	}
	if l := f.Listeners["orders>queue"]; l.Protocol != snapshot.TCP || l.Upstream != "queue" || l.Caller != "orders" {
		t.Errorf("the TCP listener %+v", l)
	}
	if l := f.Listeners["orders>inventory"]; len(l.Routes) != 1 || l.Routes[0].Upstream != "inventory" || l.Caller != "orders" {
		t.Errorf("the HTTP listener %+v", l)
	}
	if _, err := snapshot.Merge(snapshot.Version{Revision: 7}, f); err != nil {
		t.Errorf("the fragment is no snapshot: %v", err)
	}
}

// defaults is a System with defaults.
func defaults(text string) core.Document {
	d := doc("s", "", "defaults", text)
	d.Kind = core.KindSystem
	return d
}

// How calls are carried is in the snapshot: for each use that says something, or for which the System does.
func TestPolicies(t *testing.T) {
	st := state(
		defaults(`{"timeout":"2s","rateLimit":{"rate":"5/s"},"breaker":{"percent":30},"balance":{"by":"least"}}`),
		doc("a", "", "run", goProgram, "uses", `[{"service":"b","timeout":"100ms","fallback":{"cached":"5m","service":"c"}},{"service":"c"}]`),
		doc("b", "", "run", goProgram, "traffic", `{"breaker":{"off":true}}`),
		doc("c", "", "run", goProgram, "listen", `[{"env":"PORT","name":"web"},{"env":"P2"}]`),
	)
	f := Fragment(st)
	b, c := f.Policies["a>b"], f.Policies["a>c/web"]
	if b.Deadline.Total != 100*time.Millisecond || b.Fallback == nil || b.Fallback.Cached != 5*time.Minute || b.Fallback.Upstream != "c/web" {
		t.Errorf("what the use says: %+v %+v", b, b.Fallback)
	}
	if c.Deadline.Total != 2*time.Second || c.Fallback != nil || len(c.Rates) != 0 {
		t.Errorf("what the System says: %+v, want its timeout and no rate of outsiders", c)
	}
	if f.Listeners["a>b"].Routes[0].Policy != "a>b" {
		t.Errorf("the rule %+v names no policy", f.Listeners["a>b"].Routes[0])
	}
	for name, want := range map[string]breaker.Config{"b": {Off: true}, "a": {Percent: 30}, "c": {Percent: 30}, "c/web": {Percent: 30}} {
		if u := f.Upstreams[name]; u.Breaker != want || u.Balance.By != "least" {
			t.Errorf("upstream %s: %+v %+v, want %+v and least", name, u.Breaker, u.Balance, want)
		}
	}
	if _, err := snapshot.Merge(snapshot.Version{Revision: 7}, f); err != nil {
		t.Errorf("the fragment is no snapshot: %v", err)
	}
	if f := Fragment(system()); len(f.Policies) != 0 {
		t.Errorf("undeclared, there are policies: %v", f.Policies)
	}
}

// Traffic and the System's defaults are checked where they are written.
func TestCheckTrafficAndDefaults(t *testing.T) {
	for _, c := range []struct {
		name string
		doc  core.Document
		want string // paths
	}{
		{"good", doc("a", "", "run", goProgram, "traffic", `{"balance":{"by":"ring","key":"path"},"concurrency":{"max":9,"adaptive":"off"}}`), ""},
		{"undeclared", doc("a", "", "run", `{"static":"d"}`), ""},
		{"bad", doc("a", "", "run", goProgram, "traffic", `{"balance":{"by":"ring"},"breaker":{"open":"1ms"}}`), "traffic.balance.key traffic.breaker.open"},
		{"files", doc("a", "", "run", `{"static":"d"}`, "traffic", `{}`), "traffic"},
		{"no port", doc("a", "", "run", goProgram, "listen", `[]`, "traffic", `{}`), "traffic"},
		{"tcp", doc("a", "", "run", goProgram, "listen", `[{"env":"P","protocol":"tcp"}]`, "traffic", `{"balance":{"by":"ring","key":"client"},"breaker":{"percent":30},"concurrency":{"max":9},"retryBudget":{"percent":1},"outliers":{"local":3}}`),
			"traffic.balance.key traffic.breaker traffic.concurrency traffic.retryBudget"},
		{"tcp beside http", doc("a", "", "run", goProgram, "listen", `[{"env":"P","protocol":"tcp"},{"env":"H","name":"h"}]`, "traffic", `{"breaker":{"percent":30}}`), ""},
		{"off, and how", doc("a", "", "run", goProgram, "traffic", `{"breaker":{"off":true,"percent":30},"outliers":{"off":true,"local":3}}`), "traffic.breaker.off traffic.outliers.off"},
		{"elsewhere", doc("a", "", "run", `{"external":["127.0.0.1:1"]}`, "traffic", `{"breaker":{"percent":101}}`), "traffic.breaker.percent"},
		{"defaults", defaults(`{"timeout":"48h","rateLimit":{"rate":"x"},"outliers":{"stdev":-1},"fallback":{"service":"b"}}`),
			"defaults.fallback.service defaults.outliers.stdev defaults.rateLimit.rate defaults.timeout"},
	} {
		var findings []host.Finding
		if c.doc.Kind == core.KindSystem {
			checkDefaults(host.NewChecker(c.doc, state(c.doc), "defaults", &findings), mesh.DefaultsSection.Of(c.doc))
		} else {
			checkTraffic(host.NewChecker(c.doc, state(c.doc), "traffic", &findings), mesh.TrafficSection.Of(c.doc))
		}
		var got []string
		for _, f := range findings {
			got = append(got, f.Path)
		}
		slices.Sort(got)
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// An instance gets an address for each use under the standard names and its own, and all of them are let go together.
func TestGrant(t *testing.T) {
	bound := map[string]bool{}
	n := 9000
	m := New(Ports{
		Applied: func(context.Context, uint64) error { return nil },
		Bind: func(name string) (string, func(), error) {
			n++
			bound[name] = true
			return "127.0.0.1:" + string(rune('0'+n%10)) + "000", func() { delete(bound, name) }, nil
		},
	})
	st := system()
	g, err := m.grant(t.Context(), host.Instance{Doc: st.Docs[core.Ref{Kind: core.KindService, Name: "orders"}], State: st})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"INVENTORY_URL": "http://127.0.0.1:1000", "INVENTORY_ADDR": "127.0.0.1:1000", "INV": "127.0.0.1:1000", "INV_PORT": "1000",
		"QUEUE_URL": "tcp://127.0.0.1:2000", "QUEUE_ADDR": "127.0.0.1:2000", "ERP_URL": "http://127.0.0.1:3000", "ERP_ADDR": "127.0.0.1:3000",
	}
	if !maps.Equal(g.Env, want) {
		t.Errorf("env %v\nwant %v", g.Env, want)
	}
	if g.Values["uses:inventory.host"] != "127.0.0.1" || g.Values["uses:queue.url"] != "tcp://127.0.0.1:2000" {
		t.Errorf("values %v", g.Values)
	}
	if len(bound) != 3 {
		t.Errorf("bound %v", bound)
	}
	g.Release()
	if len(bound) != 0 {
		t.Errorf("still bound after the release: %v", bound)
	}
}

// A listener that cannot be bound leaves none behind.
func TestGrantGivesBackWhenOneFails(t *testing.T) {
	open := 0
	m := New(Ports{
		Applied: func(context.Context, uint64) error { return nil },
		Bind: func(name string) (string, func(), error) {
			if name == "orders>queue" {
				return "", nil, errors.New("no sockets left")
			}
			open++
			return "127.0.0.1:1", func() { open-- }, nil
		},
	})
	st := system()
	_, err := m.grant(t.Context(), host.Instance{Doc: st.Docs[core.Ref{Kind: core.KindService, Name: "orders"}], State: st})
	if err == nil || open != 0 {
		t.Errorf("err %v, %d listeners left open", err, open)
	}
}

// Paths of several readings are refused inside as at the gateway, unless the caller says that it has such.
func TestRelaxed(t *testing.T) {
	for uses, want := range map[string]bool{`[{"service":"b"}]`: false, `[{"service":"b","relaxed":true}]`: true} {
		st := core.State{Docs: map[core.Ref]core.Document{}}
		for _, d := range []core.Document{doc("a", "", "run", goProgram, "uses", uses), doc("b", "", "run", goProgram)} {
			st.Docs[d.Ref()] = d
		}
		if got := Fragment(st).Listeners["a>b"].Routes[0].Relaxed; got != want {
			t.Errorf("%s: relaxed %v", uses, got)
		}
	}
}

func TestCheck(t *testing.T) {
	ctx := func(name, uses string) core.Document {
		d := core.Document{Kind: core.KindContext, Name: name, Sections: map[string]json.RawMessage{}}
		if uses != "" {
			d.Sections[blueprint.Uses.Name] = json.RawMessage(uses)
		}
		return d
	}
	other := func(name, context string) core.Document { return doc(name, context, "run", goProgram) }
	grpc := doc("g", "", "run", goProgram, "listen", `[{"env":"PORT","protocol":"h2c"}]`)
	queue := doc("q", "", "run", goProgram, "listen", `[{"env":"PORT","protocol":"tcp"}]`)
	for _, c := range []struct {
		name, uses, context string
		others              []core.Document
		want                string // path: part of the message, or "" for no problem
	}{
		{"good", `[{"service":"inventory"}]`, "", []core.Document{other("inventory", "")}, ""},
		{"dangling", `[{"service":"inventroy"}]`, "", []core.Document{other("inventory", "")}, "uses[0].service: there is no Service \"inventroy\""},
		{"relaxed", `[{"service":"inventory","relaxed":true}]`, "", []core.Document{other("inventory", "")}, ""},
		{"relaxed tcp", `[{"service":"q","relaxed":true}]`, "", []core.Document{queue}, "uses[0].relaxed: the port speaks tcp"},
		{"itself", `[{"service":"a"}]`, "", nil, "uses[0].service: a service does not use itself"},
		{"files", `[{"service":"web"}]`, "", []core.Document{doc("web", "", "run", `{"static":"d"}`)}, "uses[0].service: service/web is files"},
		{"no port", `[{"service":"worker"}]`, "", []core.Document{doc("worker", "", "run", goProgram, "listen", `[]`)}, "uses[0].service: service/worker has no port"},
		{"unknown port", `[{"service":"b","listener":"grcp"}]`, "", []core.Document{doc("b", "", "run", goProgram, "listen", `[{"env":"PORT"},{"env":"G","name":"grpc"}]`)}, "uses[0].listener: service/b has no port named"},
		{"twice", `[{"service":"b"},{"service":"b"}]`, "", []core.Document{other("b", "")}, "uses[1].service: is used by uses[0] already"},
		{"bad variable", `[{"service":"b","as":{"9X":"url"}}]`, "", []core.Document{other("b", "")}, "uses[0].as.9X: \"9X\" is no name of a variable"},
		{"bad form", `[{"service":"b","as":{"X":"uri"}}]`, "", []core.Document{other("b", "")}, "uses[0].as.X: \"uri\" is not valid here"},
		{"one variable twice", `[{"service":"b","as":{"X":"url"}},{"service":"c","as":{"X":"url"}}]`, "", []core.Document{other("b", ""), other("c", "")}, "uses[1].as.X: is given by uses[0] too"},
		{"the standard name of another", `[{"service":"b","as":{"C_URL":"addr"}},{"service":"c"}]`, "", []core.Document{other("b", ""), other("c", "")}, "uses[1].service: C_URL is given by uses[0] too"},
		{"a port that reads like a service", `[{"service":"b","listener":"grpc"},{"service":"b-grpc"}]`, "",
			[]core.Document{doc("b", "", "run", goProgram, "listen", `[{"env":"G","name":"grpc"}]`), doc("b-grpc", "", "run", goProgram, "listen", `[{"env":"G","name":"x"}]`)},
			"uses[1].service: B_GRPC_URL is given by uses[0] too"},
		{"the standard name itself", `[{"service":"b","as":{"B_ADDR":"host"}}]`, "", []core.Document{other("b", "")}, ""},
		{"the variable of a port", `[{"service":"b","as":{"PORT":"port"}}]`, "", []core.Document{other("b", "")}, "uses[0].as.PORT: is the variable of a port (listen)"},
		{"a good policy", `[{"service":"b","timeout":"1s","retry":{"attempts":3,"perTry":"300ms"},"fallback":{"cached":"5m","service":"c"}},{"service":"c"}]`, "", []core.Document{other("b", ""), other("c", "")}, ""},
		{"attempts that do not fit", `[{"service":"b","timeout":"100ms","retry":{"attempts":3,"perTry":"60ms"}}]`, "", []core.Document{other("b", "")}, "uses[0].retry.perTry: 3 attempts of 60ms do not fit"},
		{"attempts of the System that do not fit", `[{"service":"b","timeout":"100ms"}]`, "", []core.Document{other("b", ""), defaults(`{"retry":{"perTry":"60ms"}}`)}, "uses[0].timeout: 2 attempts of 60ms do not fit"},
		{"a dangling fallback", `[{"service":"b","fallback":{"service":"cc"}}]`, "", []core.Document{other("b", "")}, "uses[0].fallback.service: there is no Service \"cc\""},
		{"a fallback that is not used", `[{"service":"b","fallback":{"service":"c"}}]`, "", []core.Document{other("b", ""), other("c", "")}, "uses[0].fallback.service: \"c\" is not among what it uses"},
		{"a fallback to what has failed", `[{"service":"b","fallback":{"service":"b"}}]`, "", []core.Document{other("b", "")}, "uses[0].fallback.service: is the service that has failed"},
		{"a fallback that cannot answer", `[{"service":"b","fallback":{"service":"q"}},{"service":"q"}]`, "", []core.Document{other("b", ""), queue}, "uses[0].fallback.service: service/q speaks tcp"},
		{"a fallback of gRPC", `[{"service":"g","fallback":{"cached":"1m"}}]`, "", []core.Document{grpc}, "uses[0].fallback: service/g speaks gRPC (h2c), where every call is a POST"},
		{"a hedge of gRPC", `[{"service":"g","retry":{"hedge":"p95"}}]`, "", []core.Document{grpc}, "uses[0].retry.hedge: service/g speaks gRPC"},
		{"repeats of gRPC", `[{"service":"g","timeout":"1s","retry":{"attempts":3,"unsafe":true},"fallback":{"off":true}}]`, "", []core.Document{grpc}, ""},
		{"a fallback to gRPC", `[{"service":"b","fallback":{"service":"g"}},{"service":"g"}]`, "", []core.Document{other("b", ""), grpc}, "uses[0].fallback.service: service/g speaks gRPC (h2c): it cannot answer a GET"},
		{"a policy of tcp", `[{"service":"q","coalesce":"1s"}]`, "", []core.Document{queue}, "uses[0].coalesce: the port speaks tcp"},
		{"contexts without a relation", `[{"service":"b"}]`, "sales", []core.Document{other("b", "warehouse"), ctx("sales", ""), ctx("warehouse", "")}, "uses[0].service: context/sales declares no relation to context/warehouse"},
		{"contexts with one", `[{"service":"b"}]`, "sales", []core.Document{other("b", "warehouse"), ctx("sales", `[{"context":"warehouse","relation":"customer-supplier"}]`), ctx("warehouse", "")}, ""},
		{"a cycle of contexts", `[{"service":"b"}]`, "sales", []core.Document{doc("b", "warehouse", "run", goProgram, "uses", `[{"service":"a"}]`),
			ctx("sales", `[{"context":"warehouse","relation":"conformist"}]`), ctx("warehouse", `[{"context":"sales","relation":"conformist"}]`)}, "uses[0].service: contexts depend on each other in a cycle: sales -> warehouse -> sales"},
		{"partners may", `[{"service":"b"}]`, "sales", []core.Document{doc("b", "warehouse", "run", goProgram, "uses", `[{"service":"a"}]`),
			ctx("sales", `[{"context":"warehouse","relation":"partnership"}]`), ctx("warehouse", `[{"context":"sales","relation":"partnership"}]`)}, ""},
	} {
		d := doc("a", c.context, "run", goProgram, "uses", c.uses)
		var findings []host.Finding
		check(host.NewChecker(d, state(append(c.others, d)...), "uses", &findings), mesh.UsesSection.Of(d))
		var got []string
		for _, f := range findings {
			got = append(got, f.Path+": "+f.Msg)
		}
		switch {
		case c.want == "" && len(got) > 0:
			t.Errorf("%s: got %q, want none", c.name, got)
		case c.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], c.want)):
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// A plan says who calls what changes, and whose permission comes or goes.
func TestEffects(t *testing.T) {
	before := state(doc("a", "", "run", goProgram, "uses", `[{"service":"b"}]`), doc("b", "", "run", goProgram), doc("c", "", "run", goProgram))
	after := state(doc("a", "", "run", goProgram, "uses", `[{"service":"c"}]`), doc("b", "", "run", goProgram), doc("c", "", "run", goProgram, "env", `{"X":"1"}`))
	var got []string
	for _, l := range effects(before, after) {
		got = append(got, l.Ref.Name+" "+l.Text)
	}
	if want := []string{"a may call c", "a may no longer call b", "c a calls it"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The gateway leads to all to which a path's requests come, and to nobody by a redirect.
func TestGraphOfTheGateway(t *testing.T) {
	g := draw(state(
		doc("a", "", "run", goProgram, "expose", `[{"path":"/"},{"path":"/x","split":[{"service":"b","weight":1},{"service":"a","weight":1}],"mirror":{"service":"c","percent":1}},{"path":"/y","fallback":{"service":"d"}}]`),
		doc("b", "", "run", goProgram), doc("c", "", "run", goProgram), doc("d", "", "run", goProgram),
		doc("e", "", "run", goProgram, "expose", `[{"path":"/old","redirect":{"to":"/"}}]`),
	))
	var got []string
	for _, e := range g.Edges {
		got = append(got, e.From+">"+e.To)
	}
	if want := []string{"gateway>a", "gateway>b", "gateway>c", "gateway>d"}; !slices.Equal(got, want) {
		t.Errorf("edges %q, want %q", got, want)
	}
	for i, want := range []string{"/ /y + /x (50 %)", " + /x (50 %)", " + /x (mirror)", " + /y (fallback)", " + /old (redirects to /)"} {
		n := g.Nodes[i]
		if got := strings.Join(n.Exposed, " ") + " + " + strings.Join(n.Also, " "); got != want {
			t.Errorf("%s has %q, want %q", n.Name, got, want)
		}
	}
	var text strings.Builder
	printGraph(&text, g)
	if !strings.Contains(text.String(), "    b (go)\n      <- gateway /x (50 %)\n") {
		t.Errorf("drawn as\n%s", text.String())
	}
}

// The drawing holds every service, whatever it is called and whether its context keeps a map.
func TestGraph(t *testing.T) {
	g := draw(state(
		core.Document{Kind: core.KindSystem, Name: "shop"},
		core.Document{Kind: core.KindContext, Name: "sales"},
		doc("end--point", "sales", "run", goProgram, "uses", `[{"service":"queue"},{"service":"pay"}]`, "stores", `[{"name":"my-db","engine":"sqlite"}]`,
			"expose", `[{"path":"/a"},{"path":"/b"}]`),
		doc("pay", "nowhere", "run", goProgram),
		doc("queue", "", "run", `{"external":["127.0.0.1:1"]}`, "listen", `[{"protocol":"tcp"}]`),
		doc("web", "", "run", `{"static":"dist"}`, "expose", `[{"path":"/"}]`),
	))
	for format, want := range map[string]string{"text": `shop

  context sales
    end--point (go)
      <- gateway /a
      <- gateway /b
      -> queue (tcp)
      -> pay (http)
      == my-db sqlite

  context nowhere
    pay (go)

    queue (external)
    web (static)
      <- gateway /
`, "mermaid": `flowchart LR
  gateway([gateway])
  subgraph c_sales [sales]
    n_end__point[end--point]
    s_end__point_my_db[(my-db)]
    n_end__point --- s_end__point_my_db
  end
  subgraph c_nowhere [nowhere]
    n_pay[pay]
  end
  n_queue[queue]
  n_web[web]
  gateway --> n_end__point
  n_end__point -->|tcp| n_queue
  n_end__point -->|http| n_pay
  gateway --> n_web
`} {
		g.Format = format
		var got strings.Builder
		printGraph(&got, g)
		if got.String() != want {
			t.Errorf("%s: got\n%s\nwant\n%s", format, got.String(), want)
		}
	}
}
