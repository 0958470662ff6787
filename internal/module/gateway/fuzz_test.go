package gateway

import (
	"encoding/json"
	"testing"

	"stoa/api/core"
	"stoa/api/gateway"
	"stoa/internal/engine/snapshot"
	"stoa/internal/kernel/host"
)

// What is declared is either refused or routed: no check lets pass what the node would
// then refuse, and none falls over, whatever is written.
func FuzzWhatIsAcceptedIsRouted(f *testing.F) {
	for _, d := range shop() {
		if raw, ok := d.Sections[gateway.ExposeSection.Name]; ok {
			f.Add(string(raw))
		}
	}
	for _, seed := range []string{
		`[null]`, `[{"path":"/a"},{"path":"/a"}]`, `[{"path":"/x/{id}","rewrite":"/y/{id}","exact":true}]`, `[{"path":"/a","split":[],"mirror":{"service":"a","percent":1e-9}}]`,
		`[{"path":"/a","split":[{"service":"b","weight":1},{"service":"b","weight":0}],"listener":"x"}]`, `[{"path":"/a","redirect":{"to":"https://:80/"},"relaxed":true}]`,
		`[{"path":"/a","rateLimit":{"all":[{"rate":"9/d","burst":-1}]},"coalesce":"-1s","retry":{"on":[""]}}]`, `[{"path":"/a","fallback":{"service":"q","static":{"status":600}}}]`,
		`[{"path":"/a","headers":[{"name":"A","regex":"("}],"query":[{"name":"","absent":true}]}]`, `[{"path":"/a","cors":{"origins":["*"],"credentials":true},"cache":{"maxAge":"1h"}}]`,
		`[{"path":"/a","requestHeaders":{"set":{"":""},"remove":[""]},"answerHeaders":{"add":{"A":"\n"}},"sticky":{"cookie":"a","header":"b"}}]`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var all []gateway.Expose
		if json.Unmarshal([]byte(text), &all) != nil {
			return
		}
		a := service("a", text)
		st := state(doc(core.KindSystem, "s"), a, service("b", `[{"path":"/b"}]`),
			doc(core.KindService, "q", "run", `{"go":"."}`, "listen", `[{"env":"P","protocol":"tcp"}]`))
		var findings []host.Finding
		for _, d := range st.Of(core.KindService) {
			checkExpose(host.NewChecker(d, st, "expose", &findings), gateway.ExposeSection.Of(d))
		}
		if len(findings) > 0 {
			return
		}
		m := New(Ports{Listen: func() string { return "" }, TLS: func() bool { return false }})
		mesh := snapshot.Fragment{From: "mesh", Upstreams: map[string]snapshot.Upstream{
			"a": {Protocol: snapshot.HTTP1}, "b": {Protocol: snapshot.HTTP1}, "q": {Protocol: snapshot.TCP},
		}}
		if _, err := snapshot.Merge(snapshot.Version{}, mesh, m.Fragment(st)); err != nil {
			t.Errorf("%s is accepted, and then refused: %v", text, err)
		}
	})
}
