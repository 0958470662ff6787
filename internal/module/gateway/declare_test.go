package gateway

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/gateway"
	"stoa/api/mesh"
	"stoa/internal/engine/certs"
	"stoa/internal/engine/deadline"
	"stoa/internal/engine/limit"
	"stoa/internal/engine/policy"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
	"stoa/internal/kernel/host"
)

// world is a gateway whose snapshot is that of its documents, and the others' upstreams.
func world(t *testing.T, docs ...core.Document) (*Module, *snapshot.Snapshot) {
	t.Helper()
	st := state(docs...)
	m := New(Ports{
		Folder: func(string) (string, error) { return "/srv", nil }, Listen: func() string { return "" }, TLS: func() bool { return false },
		State: func() core.State { return st },
	})
	others := snapshot.Fragment{From: "mesh", Upstreams: map[string]snapshot.Upstream{}, Listeners: map[string]snapshot.Listener{
		"orders>catalog": {Caller: "orders", Protocol: snapshot.HTTP, Routes: []route.Rule{{Name: "orders>catalog", Path: "/", Upstream: "catalog", Source: "service/orders uses[0]"}}},
		"orders>queue":   {Caller: "orders", Protocol: snapshot.TCP, Upstream: "queue"},
		"cart>catalog":   {Caller: "cart", Protocol: snapshot.HTTP, Routes: []route.Rule{{Name: "cart>catalog", Path: "/", Upstream: "catalog"}}},
	}}
	for _, name := range []string{"orders", "orders-next", "orders/admin", "catalog", "cart"} {
		others.Upstreams[name] = snapshot.Upstream{Service: strings.Split(name, "/")[0], Protocol: snapshot.HTTP1}
	}
	others.Listeners["orders>catalog"].Routes[0].Policy = "orders>catalog"
	others.Policies = map[string]snapshot.Policy{"orders>catalog": {Deadline: deadline.Config{Total: 300 * time.Millisecond}, Fallback: &snapshot.Fallback{Cached: 5 * time.Minute}}}
	for name, u := range others.Upstreams {
		policy.Upstream(mesh.TrafficSection.Of(st.Docs[core.Ref{Kind: core.KindService, Name: u.Service}]).Over(mesh.DefaultsOf(st).Traffic), &u)
		others.Upstreams[name] = u
	}
	others.Upstreams["queue"] = snapshot.Upstream{Protocol: snapshot.TCP}
	snap, err := snapshot.Merge(snapshot.Version{}, others, m.Fragment(st))
	if err != nil {
		t.Fatal(err)
	}
	m.p.Snapshot = func() *snapshot.Snapshot { return snap }
	return m, snap
}

// shop is a system in which a path says all that it can.
func shop() []core.Document {
	return []core.Document{
		doc(core.KindSystem, "shop", "defaults", `{"timeout":"2s","security":{"basic":true},"outliers":{"off":true}}`),
		doc(core.KindService, "orders", "run", `{"go":"."}`, "listen", `[{"env":"PORT"},{"env":"ADMIN","name":"admin"}]`,
			"traffic", `{"breaker":{"percent":30},"concurrency":{"max":64}}`,
			"uses", `[{"service":"catalog","timeout":"300ms","fallback":{"cached":"5m"}},{"service":"queue"}]`,
			"expose", `[
				{"path":"/orders","rateLimit":{"rate":"50/s","per":"client"},"priority":"critical","retry":{"attempts":1}},
				{"path":"/orders","headers":[{"name":"x-beta","value":"1"}],"query":[{"name":"q","present":true}],"rewrite":"/v2",
				 "split":[{"service":"orders","weight":3},{"service":"orders-next","weight":1},{"service":"orders","listener":"admin","weight":0}],
				 "mirror":{"service":"orders-next","percent":5},"sticky":{"cookie":"sid"},
				 "requestHeaders":{"set":{"X-B":"2","X-A":"1"},"remove":["Cookie"]},"answerHeaders":{"add":{"Vary":"X-Beta"}}},
				{"path":"/old/{id}","redirect":{"to":"https://shop.example:8443/orders/{id}","code":308}}]`),
		service("orders-next", `[]`), service("catalog", `[{"path":"/catalog","timeout":"9s","idle":"1m"}]`), service("cart", `[]`),
		doc(core.KindService, "queue", "run", `{"go":"."}`, "listen", `[{"env":"P","protocol":"tcp"}]`),
		files("web", `[{"path":"/","methods":["GET"]}]`),
	}
}

// What a path says is in its rule and its policy, on top of the System's defaults.
func TestRulesAndPolicies(t *testing.T) {
	_, snap := world(t, shop()...)
	by := map[string]route.Rule{}
	for _, r := range snap.Listeners["gateway"].Routes {
		by[r.Name] = r
	}
	beta, ok := by["orders /orders if X-Beta: 1 and ?q"]
	if !ok {
		t.Fatalf("rules %v", by)
	}
	want := route.Rule{
		Name: beta.Name, Kind: route.Prefix, Path: "/orders", Headers: []route.Cond{{Name: "x-beta", Value: "1"}}, Queries: []route.Cond{{Name: "q", Present: true}},
		Split: []route.Weighted{{Upstream: "orders", Weight: 3}, {Upstream: "orders-next", Weight: 1}, {Upstream: "orders/admin"}}, Rewrite: "/v2",
		Request: &route.Edits{Set: []route.Field{{Name: "X-A", Value: "1"}, {Name: "X-B", Value: "2"}}, Remove: []string{"Cookie"}},
		Answer:  &route.Edits{Add: []route.Field{{Name: "Vary", Value: "X-Beta"}}},
		Mirror:  &route.Mirror{Upstream: "orders-next", Percent: 5}, Sticky: &route.Sticky{Cookie: "sid"},
		Policy: "gateway " + beta.Name, Source: "service/orders expose[1]",
	}
	if !reflect.DeepEqual(beta, want) {
		t.Errorf("got  %+v\nwant %+v", beta, want)
	}
	if r := by["orders /old/{id}"].Redirect; r == nil || *r != (route.Redirect{Scheme: "https", Host: "shop.example", Port: 8443, Path: "/orders/{id}", Code: 308}) {
		t.Errorf("redirect %+v", r)
	}
	p := snap.Policies["gateway orders /orders"]
	if p.Deadline.Total != 2*time.Second || p.Retry.Attempts != 1 || len(p.Rates) != 1 || p.Priority.String() != "critical" || p.Secure == nil {
		t.Errorf("policy of /orders %+v", p)
	}
	if p := snap.Policies["gateway web / GET"]; p.Deadline.Total != 0 || p.Secure == nil || p.Priority != limit.Normal {
		t.Errorf("policy of files %+v, want none of calls", p)
	}
}

func TestRedirect(t *testing.T) {
	for _, c := range []struct {
		to   string
		want route.Redirect
		ok   bool
	}{
		{"/new", route.Redirect{Path: "/new"}, true},
		{"https://", route.Redirect{Scheme: "https"}, true},
		{"https://a.example", route.Redirect{Scheme: "https", Host: "a.example"}, true},
		{"https://a.example/", route.Redirect{Scheme: "https", Host: "a.example"}, true},
		{"http://a.example:81/x/y", route.Redirect{Scheme: "http", Host: "a.example", Port: 81, Path: "/x/y"}, true},
		{"https:///x", route.Redirect{Scheme: "https", Path: "/x"}, true},
		{"", route.Redirect{}, false}, {"new", route.Redirect{}, false}, {"//a.example", route.Redirect{}, false}, {"://a", route.Redirect{}, false},
		{"https://a.example:0", route.Redirect{}, false}, {"https://a.example:x/", route.Redirect{}, false}, {"https://a.example/?q=1", route.Redirect{}, false},
	} {
		got, ok := redirect(gateway.Redirect{To: c.to})
		if ok != c.ok || ok && *got != c.want {
			t.Errorf("%q: %+v, %v, want %+v, %v", c.to, got, ok, c.want, c.ok)
		}
	}
}

// Certificates are found beside the file that names them, and checked by their paths.
func TestCertificates(t *testing.T) {
	sys := doc(core.KindSystem, "s", "gateway", `{"listen":":443","newTrace":true,"heads":{"bytes":32768},"redirectHTTP":":80","tls":{"cert":"c.pem","key":"/k.pem","more":[{"cert":"d.pem","key":"d.key"}]}}`)
	sys.Source, sys.File = "/home/thea/shop", "deploy/stoa.yaml"
	_, snap := world(t, sys)
	l := snap.Listeners["gateway"]
	want := &certs.Config{Cert: "/home/thea/shop/deploy/c.pem", Key: "/k.pem", More: []certs.Pair{{Cert: "/home/thea/shop/deploy/d.pem", Key: "/home/thea/shop/deploy/d.key"}}}
	if l.Heads != (snapshot.Heads{Bytes: 32768}) || !reflect.DeepEqual(l.TLS, want) || l.Redirect != ":80" || !l.NewTrace || l.Address != ":443" {
		t.Errorf("listener %+v, %+v", l, l.TLS)
	}
	for _, c := range []struct{ text, want string }{
		{`{"listen":":443"}`, ""},
		{`{"listen":"443"}`, "gateway.listen"},
		{`{"listen":":443","redirectHTTP":":80"}`, "gateway.redirectHTTP"},
		{`{"listen":":443","redirectHTTP":":443","tls":{"dev":true}}`, "gateway.redirectHTTP"},
		{`{"listen":":443","heads":{"bytes":32768,"fields":200}}`, ""},
		{`{"listen":":443","heads":{"bytes":1,"target":65536,"fields":2000}}`, "gateway.heads.bytes gateway.heads.fields gateway.heads.target"},
		{`{"listen":":443","tls":{}}`, "gateway.tls"},
		{`{"listen":":443","tls":{"cert":"a"}}`, "gateway.tls.key"},
		{`{"listen":":443","tls":{"dev":true,"acme":{"hosts":["shop.example.com"],"agree":true}}}`, "gateway.tls"},
		{`{"listen":":443","tls":{"acme":{"hosts":["Shop.example.com","*.a.com"],"email":"x","accountID":"k","directory":"https://ca.internal"}}}`,
			"gateway.tls.acme.accountID gateway.tls.acme.email gateway.tls.acme.hosts[0] gateway.tls.acme.hosts[1]"},
	} {
		d := doc(core.KindSystem, "s", "gateway", c.text)
		var findings []host.Finding
		checkGateway(host.NewChecker(d, state(d), "gateway", &findings), gateway.GatewaySection.Of(d))
		var got []string
		for _, f := range findings {
			got = append(got, f.Path)
		}
		slices.Sort(got)
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %q", c.text, got, c.want)
		}
	}
}

// Of a request it is told where it goes, why, and how it is carried, each value with where it is from.
func TestExplain(t *testing.T) {
	m, _ := world(t, shop()...)
	for _, c := range []struct {
		in     gateway.RouteIn
		answer string
		has    []string // lines of the text, some words of each in their order
	}{
		{gateway.RouteIn{Method: "GET", Path: "/orders/7"}, "GET /orders/7 goes to orders as /orders/7", []string{
			"won|/orders/*|service/orders expose[0]", "near|/orders/* if X-Beta: 1 and ?q|service/orders expose[1]", `want X-Beta: 1, got nothing`,
			"lost|GET /*|service/web expose[0]", "2 other rules",
			"timeout|2s in all|(System defaults)", "retry|never|(service/orders expose[0])", "rateLimit|50/s per client|(service/orders expose[0])",
			"priority|critical|(service/orders expose[0])", "idle|5m|(default)", "security|X-Frame-Options|(System defaults)",
			"At orders:", "breaker|30 %|(service/orders traffic)", "outliers|no instance is left alone|(System defaults)", "concurrency|at most 64|(service/orders traffic)", "balance|ewma|(default)"}},
		{gateway.RouteIn{Method: "GET", Path: "/orders/7?q=1", Headers: []string{"X-BETA=1"}}, "GET /orders/7 goes to orders (75 %) or orders-next (25 %) as /v2/7?q=1",
			[]string{"sticky|by the cookie sid|(service/orders expose[1])", "mirror|5 % are copied to orders-next", "requestHeaders|without Cookie, X-A: 1 alone, X-B: 2 alone", "answerHeaders|Vary: X-Beta too",
				"won|X-Beta", "At orders, to which 75 % go:", "At orders-next, to which 25 % go:"}},
		{gateway.RouteIn{Method: "POST", Path: "/catalog"}, "POST /catalog goes to catalog as /catalog", []string{
			"retry|POST without Idempotency-Key only if it never arrived", "timeout|9s|(service/catalog expose[0])", "idle|1m|(service/catalog expose[0])"}},
		{gateway.RouteIn{Method: "GET", Path: "/old/3"}, "GET /old/3 is redirected with 308 to https://shop.example:8443/orders/3", []string{"security"}},
		{gateway.RouteIn{Method: "GET", Path: "/logo.svg"}, "GET /logo.svg is answered with a file of web, /logo.svg", []string{"security|X-Frame-Options|(System defaults)"}},
		{gateway.RouteIn{Method: "PUT", Path: "/logo.svg"}, "PUT /logo.svg is answered with 405: there it may be GET", []string{"near|GET /*"}},
		{gateway.RouteIn{Method: "GET", Path: "/a//b"}, "GET /a//b is refused with 400: empty segment", nil},
		{gateway.RouteIn{Method: "GET", Path: "/x", From: "orders", To: "catalog"}, "GET /x goes to catalog as /x", []string{
			"timeout|300ms|(service/orders uses[0])", "fallback|up to 5m old|(service/orders uses[0])"}},
		{gateway.RouteIn{Method: "POST", Path: "/x", From: "cart"}, "POST /x goes to catalog as /x", []string{"fallback|none"}},
	} {
		out, err := m.explain(t.Context(), c.in)
		if err != nil || !strings.HasPrefix(out.Answer, c.answer) {
			t.Errorf("%+v: %q, %v, want %q", c.in, out.Answer, err, c.answer)
			continue
		}
		var b strings.Builder
		printRoute(&b, out)
		for _, want := range c.has {
			if !slices.ContainsFunc(strings.Split(b.String(), "\n"), func(line string) bool { return inOrder(line, strings.Split(want, "|")) }) {
				t.Errorf("%s lacks %q in\n%s", c.answer, want, b.String())
			}
		}
	}
	for _, c := range []struct {
		in   gateway.RouteIn
		kind fault.Kind
		want string // of error and hint
	}{
		{gateway.RouteIn{Method: "GET", Path: "orders"}, fault.Invalid, "does not begin with /"},
		{gateway.RouteIn{Method: "GET", Path: "/", Headers: []string{"X-Beta"}}, fault.Invalid, "want NAME=VALUE"},
		{gateway.RouteIn{Method: "GET", Path: "/", To: "catalog"}, fault.Invalid, "Add --from"},
		{gateway.RouteIn{Method: "GET", Path: "/", From: "ordesr"}, fault.NotFound, "Did you mean orders?"},
		{gateway.RouteIn{Method: "GET", Path: "/", From: "orders"}, fault.Invalid, "one of catalog, queue"},
		{gateway.RouteIn{Method: "GET", Path: "/", From: "orders", To: "catalogue"}, fault.NotFound, "Did you mean catalog?"},
		{gateway.RouteIn{Method: "GET", Path: "/", From: "orders", To: "queue"}, fault.Invalid, "by tcp"},
	} {
		_, err := m.explain(t.Context(), c.in)
		if !fault.Is(err, c.kind) || !strings.Contains(err.Error()+" "+fault.HintOf(err), c.want) {
			t.Errorf("%+v: %v, %s, want %s: %s", c.in, err, fault.HintOf(err), c.kind, c.want)
		}
	}
}

func inOrder(line string, words []string) bool {
	for _, w := range words {
		_, rest, ok := strings.Cut(line, w)
		if !ok {
			return false
		}
		line = rest
	}
	return true
}

// Where the documents are not those of the snapshot, it is told what is declared, not where.
func TestExplainOfAnOlderSnapshot(t *testing.T) {
	m, _ := world(t, shop()...)
	st := m.p.State()
	st.Revision = 9
	m.p.State = func() core.State { return st }
	out, err := m.explain(t.Context(), gateway.RouteIn{Method: "GET", Path: "/orders"})
	if err != nil {
		t.Fatal(err)
	}
	from := map[string]string{}
	for _, s := range append(out.Settings, out.Callees[0].Settings...) {
		from[s.Name] = s.From
	}
	if from["rateLimit"] != "declared" || from["idle"] != "default" || from["breaker"] != "declared" || from["balance"] != "default" {
		t.Errorf("from %v", from)
	}
	if b, err := json.Marshal(out); err != nil || !strings.Contains(string(b), `"upstream":"orders"`) {
		t.Errorf("as JSON: %s, %v", b, err)
	}
	m.p.Snapshot = func() *snapshot.Snapshot { return nil }
	if _, err := m.explain(t.Context(), gateway.RouteIn{Method: "GET", Path: "/"}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("without a snapshot: %v", err)
	}
}
