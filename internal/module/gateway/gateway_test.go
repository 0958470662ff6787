package gateway

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"stoa/api/core"
	"stoa/api/gateway"
	"stoa/internal/engine/route"
	"stoa/internal/engine/snapshot"
	"stoa/internal/kernel/host"
)

func doc(kind, name string, sections ...string) core.Document {
	d := core.Document{Kind: kind, Name: name, Sections: map[string]json.RawMessage{}, Artefacts: map[string]string{}}
	for i := 0; i < len(sections); i += 2 {
		d.Sections[sections[i]] = json.RawMessage(sections[i+1])
	}
	return d
}

func state(docs ...core.Document) core.State {
	s := core.State{Docs: map[core.Ref]core.Document{}}
	for _, d := range docs {
		s.Docs[d.Ref()] = d
	}
	return s
}

func service(name, expose string) core.Document {
	return doc(core.KindService, name, "run", `{"go":"."}`, "expose", expose)
}

func files(name, expose string) core.Document {
	return doc(core.KindService, name, "run", `{"static":"dist"}`, "expose", expose)
}

// The gateway has a route for each exposed path; files are served once they were built.
func TestFragment(t *testing.T) {
	web := doc(core.KindService, "web", "run", `{"static":"dist","spa":true}`, "expose", `[{"path":"/"}]`)
	sys := doc(core.KindSystem, "shop", "gateway", `{"listen":"127.0.0.1:9999"}`)
	flag := ""
	m := New(Ports{
		TLS: func() bool { return false },
		Folder: func(digest string) (string, error) {
			if digest == "" {
				return "", errors.New("not built")
			}
			return "/artefacts/" + digest, nil
		},
		Listen: func() string { return flag },
	})
	st := state(sys, web, service("orders", `[{"path":"/orders"},{"path":"/orders/{id}","methods":["DELETE"]},{"path":"/ping","exact":true}]`))
	f := m.Fragment(st)
	l := f.Listeners[gateway.ListenerName]
	if l.Address != "127.0.0.1:9999" || l.Protocol != snapshot.HTTP || !l.Edge() {
		t.Errorf("listener %+v", l)
	}
	var kinds []route.Kind
	for _, r := range l.Routes {
		kinds = append(kinds, r.Kind)
	}
	if !slices.Equal(kinds, []route.Kind{route.Prefix, route.Template, route.Exact}) {
		t.Errorf("routes before the files are built: %+v", l.Routes)
	}
	web.Artefacts["static"] = "d1"
	flag = "127.0.0.1:1234"
	f = m.Fragment(state(sys, web, service("orders", `[{"path":"/orders"}]`)))
	if s := f.Sites["web"]; s.Dir != "/artefacts/d1" || !s.SPA || s.Digest != "d1" {
		t.Errorf("site %+v", s)
	}
	if l := f.Listeners[gateway.ListenerName]; l.Address != "127.0.0.1:1234" || len(l.Routes) != 2 {
		t.Errorf("with a stronger address: %+v", l)
	}
}

// A path that is relaxed is so at the gateway; no other is.
func TestRelaxed(t *testing.T) {
	got := rules(state(), service("files", `[{"path":"/raw","relaxed":true},{"path":"/files"}]`))
	if len(got) != 2 || !got[0].Relaxed || got[1].Relaxed {
		t.Errorf("rules %+v, want the first relaxed and not the second", got)
	}
}

func TestCheckExpose(t *testing.T) {
	for _, c := range []struct {
		name   string
		doc    core.Document
		others []core.Document
		want   string
	}{
		{"good", service("b", `[{"path":"/b"}]`), nil, ""},
		{"no path", service("b", `[{"host":"x"}]`), nil, "expose[0].path: is missing"},
		{"a relative path", service("b", `[{"path":"b"}]`), nil, "expose[0].path: "},
		{"not canonical", service("b", `[{"path":"/a/../b"}]`), nil, "expose[0].path: "},
		{"an unknown port", service("b", `[{"path":"/b","listener":"x"}]`), nil, "expose[0].listener: service/b has no port named"},
		{"no port", doc(core.KindService, "b", "run", `{"go":"."}`, "listen", `[]`, "expose", `[{"path":"/b"}]`), nil, "expose: the service has no port"},
		{"tcp", doc(core.KindService, "b", "run", `{"go":"."}`, "listen", `[{"env":"P","protocol":"tcp"}]`, "expose", `[{"path":"/b"}]`), nil, "expose[0].path: the port speaks tcp"},
		{"a conflict", service("b", `[{"path":"/x"}]`), []core.Document{service("a", `[{"path":"/x"}]`)}, "expose[0].path: "},
		{"by method no conflict", service("b", `[{"path":"/x","methods":["POST"]}]`), []core.Document{service("a", `[{"path":"/x"}]`)}, ""},
		{"by condition no conflict", service("b", `[{"path":"/x","headers":[{"name":"X-Beta","value":"1"}]}]`), []core.Document{service("a", `[{"path":"/x"}]`)}, ""},
		{"conditions that can hold at once", service("b", `[{"path":"/x","headers":[{"name":"X-A","present":true}]}]`), []core.Document{service("a", `[{"path":"/x","headers":[{"name":"X-B","present":true}]}]`)}, "expose[0].path: "},
		{"a condition that says nothing", service("b", `[{"path":"/b","query":[{"name":"p"}]}]`), nil, "expose[0].query[0]: want exactly one of"},
		{"a host header", service("b", `[{"path":"/b","headers":[{"name":"Host","value":"x"}]}]`), nil, "expose[0].headers[0].name: host is not among the headers"},
		{"a dangling side", service("b", `[{"path":"/b","split":[{"service":"b","weight":1},{"service":"bb","weight":1}]}]`), nil, "expose[0].split[1].service: there is no Service"},
		{"a side without its port", service("b", `[{"path":"/b","split":[{"service":"b","weight":1},{"service":"a","listener":"x","weight":1}]}]`), []core.Document{service("a", `[]`)}, "expose[0].split[1].listener: service/a has no port named"},
		{"a side of files", service("b", `[{"path":"/b","split":[{"service":"b","weight":1},{"service":"w","weight":1}]}]`), []core.Document{files("w", `[]`)}, "expose[0].split[1].service: service/w has no port"},
		{"no weight", service("b", `[{"path":"/b","split":[{"service":"b","weight":0}]}]`), nil, "expose[0].split: all weights are 0"},
		{"a service twice", service("b", `[{"path":"/b","split":[{"service":"b","weight":1},{"service":"b","weight":2}]}]`), nil, "expose[0].split[1].service: b is there twice"},
		{"a dangling mirror", service("b", `[{"path":"/b","mirror":{"service":"c","percent":1}}]`), nil, "expose[0].mirror.service: there is no Service"},
		{"a mirror of nothing", service("b", `[{"path":"/b","mirror":{"service":"a","percent":0}}]`), []core.Document{service("a", `[]`)}, "expose[0].mirror.percent: "},
		{"a redirect to nowhere", service("b", `[{"path":"/b","redirect":{"to":"here"}}]`), nil, "expose[0].redirect.to: \"here\" is no place"},
		{"a redirect to itself", service("b", `[{"path":"/b","redirect":{"to":"/b"}}]`), nil, "expose[0].redirect.to: redirects to itself"},
		{"a redirect that is retried", service("b", `[{"path":"/b","redirect":{"to":"/c"},"retry":{"attempts":2}}]`), nil, "expose[0].retry: of a path that the gateway answers by itself"},
		{"a redirect that is split", service("b", `[{"path":"/b","redirect":{"to":"/c"},"sticky":{"cookie":"c"}}]`), nil, "expose[0].sticky: of a path that is redirected"},
		{"files with a fallback", files("b", `[{"path":"/b","fallback":{"cached":"1m"}}]`), nil, "expose[0].fallback: of a path that the gateway answers by itself"},
		{"files with a rate", files("b", `[{"path":"/b","rateLimit":{"rate":"5/s"},"security":{"basic":true},"answerHeaders":{"set":{"X-A":"1"}}}]`), nil, ""},
		{"a header of ours", service("b", `[{"path":"/b","requestHeaders":{"set":{"A":"1","Stoa-Caller":"me"}}}]`), nil, "expose[0].requestHeaders.set.Stoa-Caller: "},
		{"a variable that is not there", service("b", `[{"path":"/b/{id}","rewrite":"/c/{no}"}]`), nil, "expose[0].rewrite: "},
		{"a rate that is none", service("b", `[{"path":"/b","rateLimit":{"rate":"5"}}]`), nil, "expose[0].rateLimit.rate: "},
		{"a dangling fallback", service("b", `[{"path":"/b","fallback":{"service":"c"}}]`), nil, "expose[0].fallback.service: there is no Service"},
		{"a fallback to what has failed", service("b", `[{"path":"/b","fallback":{"service":"b"}}]`), nil, "expose[0].fallback.service: is the service that has failed"},
		{"files that are important", files("b", `[{"path":"/b","priority":"low"}]`), nil, "expose[0].priority: of a path that the gateway answers by itself"},
		{"a redirect by cohorts", service("b", `[{"path":"/b","redirect":{"to":"/c"},"cohort":"cookie:c"}]`), nil, "expose[0].cohort: of a path that the gateway answers by itself"},
		{"a fallback of gRPC", doc(core.KindService, "b", "run", `{"go":"."}`, "listen", `[{"env":"P","protocol":"h2c"}]`, "expose", `[{"path":"/b","fallback":{"static":{"body":"-"}}}]`), nil,
			"expose[0].fallback: service/b speaks gRPC"},
		{"a fallback to gRPC", service("b", `[{"path":"/b","fallback":{"service":"g"}}]`), []core.Document{doc(core.KindService, "g", "run", `{"go":"."}`, "listen", `[{"env":"P","protocol":"h2c"}]`)},
			"expose[0].fallback.service: service/g speaks gRPC"},
		{"a fallback of plain HTTP by h2c", doc(core.KindService, "b", "run", `{"go":"."}`, "contract", `{"openapi":"o.yaml"}`, "listen", `[{"env":"P","protocol":"h2c"}]`, "expose", `[{"path":"/b","fallback":{"static":{"body":"-"}}}]`), nil, ""},
		{"a cache of POST", service("b", `[{"path":"/b","methods":["POST","PUT"],"cache":{"on":true}}]`), nil, "expose[0].cache: the path serves [POST PUT]"},
		{"no cache of POST", service("b", `[{"path":"/b","methods":["POST"],"cache":{"on":false},"fallback":{"off":true},"coalesce":"0s"}]`), nil, ""},
		{"a hedge of POST", service("b", `[{"path":"/b","methods":["POST"],"retry":{"hedge":"p95"}}]`), nil, "expose[0].retry.hedge: the path serves [POST]"},
		{"a mirror of POST", service("b", `[{"path":"/b","methods":["POST"],"mirror":{"service":"a","percent":1}}]`), []core.Document{service("a", `[]`)}, "expose[0].mirror: copies nothing"},
		{"a mirror of POST that may act", service("b", `[{"path":"/b","methods":["POST"],"mirror":{"service":"a","percent":1,"unsafe":true}}]`), []core.Document{service("a", `[]`)}, ""},
		{"sticky by a key that nothing reads", service("b", `[{"path":"/b","sticky":{"cookie":"sid"}}]`), nil, "expose[0].sticky: keeps nothing together"},
		{"sticky by a key that balances", doc(core.KindService, "b", "run", `{"go":"."}`, "traffic", `{"balance":{"by":"maglev","key":"client"}}`, "expose", `[{"path":"/b","sticky":{"cookie":"sid"}}]`), nil, ""},
		{"sticky by a cookie of ours", service("b", `[{"path":"/b","sticky":{"issue":"at","lasts":"1h"}}]`), nil, ""},
		{"sticky for longer than any browser", service("b", `[{"path":"/b","sticky":{"issue":"at","lasts":"401d"}}]`), nil, "expose[0].sticky.lasts: "},
		{"exact template", service("b", `[{"path":"/x/{id}","exact":true}]`), nil, "expose[0].exact: means nothing"},
	} {
		var findings []host.Finding
		checkExpose(host.NewChecker(c.doc, state(append(c.others, c.doc)...), "expose", &findings), gateway.ExposeSection.Of(c.doc))
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
		if c.name == "a conflict" && !strings.Contains(strings.Join(got, ""), "GET") {
			t.Errorf("the conflict shows no request that both match: %q", got)
		}
	}
}

func TestEffects(t *testing.T) {
	before := state(service("a", `[{"path":"/a"},{"path":"/x"}]`), service("b", `[{"path":"/b"}]`))
	after := state(service("a", `[{"path":"/a"}]`), service("b", `[{"path":"/x"},{"path":"/new"}]`))
	var got []string
	for _, l := range effects(before, after) {
		got = append(got, l.Ref.Name+": "+l.Text)
	}
	want := []string{"b: gateway /x/* leads to it, no longer to a", "b: gateway /new/* leads to it", "b: gateway /b/* is gone"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
