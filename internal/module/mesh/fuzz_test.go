package mesh

import (
	"encoding/json"
	"testing"

	"stoa/api/core"
	"stoa/api/mesh"
	"stoa/internal/engine/snapshot"
	"stoa/internal/kernel/host"
)

// What is declared is either refused or carried: no check lets pass what the node would
// then refuse, and none falls over, whatever is written.
func FuzzWhatIsAcceptedIsCarried(f *testing.F) {
	for _, seed := range [][3]string{
		{`[{"service":"b","timeout":"1s","retry":{"attempts":3,"perTry":"300ms"},"fallback":{"cached":"5m","service":"q"}},{"service":"q"}]`, `{}`, `{}`},
		{`[null]`, `{"balance":{"by":"maglev","key":"path","slowStart":"0s"},"retryBudget":{"percent":-1}}`, `{"retry":{"perTry":"9s"}}`},
		{`[{"service":"b","fallback":{"service":"b"},"coalesce":"0s","cache":{"on":false}}]`, `{"concurrency":{"adaptive":"off","minLimit":3}}`, `{"timeout":"1s","fallback":{"service":"b"}}`},
		{`[{"service":"b","listener":"x","idle":"-1s"}]`, `{"outliers":{"stdev":1e308,"cap":"1s"},"breaker":{"open":"1h","openMax":"1s"}}`, `{"rateLimit":{"all":[{}]},"breaker":{"off":true}}`},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, uses, traffic, system string) {
		if json.Unmarshal([]byte(uses), new([]mesh.Use)) != nil || json.Unmarshal([]byte(traffic), new(mesh.Traffic)) != nil || json.Unmarshal([]byte(system), new(mesh.Defaults)) != nil {
			return
		}
		st := state(defaults(system), doc("a", "", "run", goProgram, "uses", uses), doc("b", "", "run", goProgram, "traffic", traffic),
			doc("q", "", "run", goProgram, "listen", `[{"env":"P","protocol":"tcp"}]`))
		var findings []host.Finding
		for _, d := range st.Of(core.KindService) {
			check(host.NewChecker(d, st, "uses", &findings), mesh.UsesSection.Of(d))
			checkTraffic(host.NewChecker(d, st, "traffic", &findings), mesh.TrafficSection.Of(d))
		}
		sys, _ := st.System()
		checkDefaults(host.NewChecker(sys, st, "defaults", &findings), mesh.DefaultsOf(st))
		if len(findings) > 0 {
			return
		}
		if _, err := snapshot.Merge(snapshot.Version{}, Fragment(st)); err != nil {
			t.Errorf("%s, %s, %s is accepted, and then refused: %v", uses, traffic, system, err)
		}
	})
}
