package policy

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"stoa/api/core"
	"stoa/api/mesh"
	"stoa/internal/engine/cache"
	"stoa/internal/engine/deadline"
	"stoa/internal/engine/limit"
	"stoa/internal/engine/rate"
	"stoa/internal/engine/retry"
	"stoa/internal/engine/snapshot"
)

// edge reads a policy as a blueprint stores it.
func edge(t *testing.T, text string) core.EdgePolicy {
	t.Helper()
	var p core.EdgePolicy
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

func itself(service string) string { return service }

// What is declared is what the snapshot says, in its words.
func TestOf(t *testing.T) {
	got := Of(edge(t, `{"timeout":"300ms","idle":"1m","retry":{"attempts":3,"perTry":"90ms","on":["503"],"backoff":{"base":"5ms","cap":"1s"},"hedge":"p95"},
		"rateLimit":{"all":[{"rate":"50/s","per":"client"},{"rate":"9/m","burst":3}]},"priority":"low","cohort":"cookie:sid","cache":{"staleIfError":"5m"},
		"coalesce":"100ms","fallback":{"cached":"5m","static":{"body":"[]"},"service":"b"},"cors":{"origins":["*"]},"security":{"basic":true,"frames":"DENY"}}`), itself)
	want := snapshot.Policy{
		Deadline: deadline.Config{Total: 300 * time.Millisecond, Idle: time.Minute},
		Retry: retry.Config{Attempts: 3, PerTry: 90 * time.Millisecond, On: []string{"503"}, Base: 5 * time.Millisecond, Cap: time.Second,
			HedgeAfter: "p95"},
		Rates:    []rate.Config{{Rate: rate.Rate{N: 50, Per: time.Second}, Per: "client"}, {Rate: rate.Rate{N: 9, Per: time.Minute}, Burst: 3}},
		Priority: limit.Low, Cohort: "cookie:sid", Cache: &cache.Config{StaleIfError: 5 * time.Minute}, Coalesce: 100 * time.Millisecond,
		Fallback: &snapshot.Fallback{Cached: 5 * time.Minute, Static: &snapshot.Static{Body: "[]"}, Upstream: "b"},
		CORS:     &snapshot.CORS{Origins: []string{"*"}},
		Secure:   &snapshot.Secure{Frames: "DENY", Referrer: "strict-origin-when-cross-origin", NoSniff: true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// What takes a default away leaves what an undeclared policy has, so that no rule need name it.
func TestNothingIsNothing(t *testing.T) {
	for _, text := range []string{`{}`, `{"cache":{"on":false}}`, `{"fallback":{"off":true}}`, `{"coalesce":"0s"}`, `{"rateLimit":{"all":[]}}`, `{"cors":{"off":true}}`, `{"security":{"basic":false}}`, `{"priority":"normal"}`, `{"cohort":"client"}`} {
		def := edge(t, `{"cache":{"on":true},"fallback":{"cached":"1m"},"coalesce":"1s","rateLimit":{"rate":"1/s"},"cors":{"origins":["*"]},"security":{"basic":true},"priority":"low","cohort":"header:X"}`)
		p := edge(t, text)
		if got := Of(p, itself); Says(got) {
			t.Errorf("%s: says %+v", text, got)
		}
		field := First(p)
		both, _ := json.Marshal(Of(p.Over(def), itself))
		if all, _ := json.Marshal(Of(def, itself)); text != `{}` && string(both) == string(all) {
			t.Errorf("%s: the default of %s stands", text, field)
		}
	}
}

// Every field that can be written reaches the snapshot.
func TestEveryFieldIsCarried(t *testing.T) {
	plain := func(p core.EdgePolicy) any { return Of(p, itself) }
	for name, p := range leaves[core.EdgePolicy](t) {
		if name == "RateLimit.All" || strings.HasSuffix(name, ".Off") || name == "Security.Basic" || name == "Cache.On" || name == "Fallback.Service" {
			continue // said by TestOf and TestNothingIsNothing
		}
		if p.RateLimit != nil && p.RateLimit.Rate == "" {
			p.RateLimit.Rate = "5/s"
		}
		if reflect.DeepEqual(plain(p), plain(core.EdgePolicy{})) {
			t.Errorf("%s changes nothing", name)
		}
	}
	spread := func(t mesh.Traffic) (u snapshot.Upstream) { Upstream(t, &u); return u }
	for name, v := range leaves[mesh.Traffic](t) {
		if reflect.DeepEqual(spread(v), snapshot.Upstream{}) {
			t.Errorf("traffic %s changes nothing", name)
		}
	}
}

// leaves gives a value of T for each of its fields, in which that one alone is set.
func leaves[T any](t *testing.T) map[string]T {
	out := map[string]T{}
	var walk func(typ reflect.Type, index [][]int, name string)
	walk = func(typ reflect.Type, path [][]int, name string) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			at := append(slices.Clone(path), []int{i})
			full := strings.TrimPrefix(name+"."+f.Name, ".")
			if f.Anonymous {
				full = name
			}
			ft := f.Type
			if ft.Kind() == reflect.Pointer {
				ft = ft.Elem()
			}
			if ft.Kind() == reflect.Struct {
				walk(ft, at, full)
				continue
			}
			var v T
			r := reflect.ValueOf(&v).Elem()
			for _, x := range at {
				if r.Kind() == reflect.Pointer {
					r.Set(reflect.New(r.Type().Elem()))
					r = r.Elem()
				}
				r = r.FieldByIndex(x)
			}
			if r.Kind() == reflect.Pointer {
				r.Set(reflect.New(r.Type().Elem()))
				r = r.Elem()
			}
			switch r.Kind() {
			case reflect.String:
				text := map[string]string{"Rate": "7/s", "Priority": "bulk"}[f.Name]
				if text == "" {
					text = "x"
				}
				r.SetString(text)
			case reflect.Bool:
				r.SetBool(true)
			case reflect.Int, reflect.Int64:
				r.SetInt(7)
			case reflect.Float64:
				r.SetFloat(7)
			case reflect.Slice:
				s := reflect.MakeSlice(r.Type(), 1, 1)
				r.Set(s)
			default:
				t.Fatalf("%s is a %v", full, r.Kind())
			}
			out[full] = v
		}
	}
	walk(reflect.TypeFor[T](), nil, "")
	if len(out) < 10 {
		t.Fatalf("%d fields", len(out))
	}
	return out
}

// Problems bear the path of the field as it is declared.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		policy, defaults string
		want             string // paths, sorted
	}{
		{`{}`, `{}`, ""},
		{`{"timeout":"48h","idle":"25h"}`, `{}`, "idle timeout"},
		{`{"retry":{"attempts":9,"perTry":"1us","on":["500"],"backoff":{"base":"1m","cap":"1us"},"hedge":"soon"}}`, `{}`,
			"retry.attempts retry.backoff.base retry.backoff.cap retry.hedge retry.on[0] retry.perTry"},
		{`{"timeout":"100ms","retry":{"attempts":3,"perTry":"90ms"}}`, `{}`, "retry.perTry"},
		{`{"retry":{"attempts":3,"perTry":"90ms"}}`, `{}`, ""},
		{`{"retry":{"attempts":3,"perTry":"90ms"}}`, `{"timeout":"100ms"}`, "retry.perTry"},
		{`{"timeout":"100ms"}`, `{"retry":{"attempts":3,"perTry":"90ms"}}`, "timeout"},
		{`{"retry":{"attempts":3,"perTry":"6s"}}`, `{}`, "retry.perTry"}, // into 15s
		{`{}`, `{"timeout":"100ms","retry":{"attempts":3,"perTry":"90ms"}}`, ""},
		{`{"timeout":"1s"}`, `{"timeout":"100ms","retry":{"attempts":3,"perTry":"90ms"}}`, ""},
		{`{"rateLimit":{"rate":"5/x","per":"ip"}}`, `{}`, "rateLimit.per rateLimit.rate"},
		{`{"rateLimit":{"all":[{"rate":"5/s"},{"rate":"5/s","per":"ip"},{"burst":3}]}}`, `{}`, "rateLimit[1].per rateLimit[2].rate"},
		{`{"retry":{"attempts":1,"on":["503"]}}`, `{}`, "retry.attempts"},
		{`{"retry":{"attempts":1,"perTry":"1s"}}`, `{}`, ""},
		{`{"rateLimit":{"all":[{"rate":"1/s"},{"rate":"2/s"},{"rate":"3/s"},{"rate":"4/s"},{"rate":"5/s"},{"rate":"6/s"},{"rate":"7/s"},{"rate":"8/s"},{"rate":"9/s"}]}}`, `{}`, "rateLimit"},
		{`{"rateLimit":{}}`, `{}`, "rateLimit"},
		{`{"rateLimit":{"all":[]}}`, `{}`, ""},
		{`{"fallback":{}}`, `{}`, "fallback"},
		{`{"fallback":{"off":true,"cached":"1m"}}`, `{}`, "fallback.off"},
		{`{"fallback":{"cached":"48h","static":{"status":99,"contentType":"a\nb"}}}`, `{}`, "fallback.cached fallback.static.contentType fallback.static.status"},
		{`{"cache":{"staleIfError":"999h"},"coalesce":"2m","cohort":"ip"}`, `{}`, "cache.staleIfError coalesce cohort"},
		{`{"cache":{"on":false,"maxAge":"1m"}}`, `{}`, "cache.on"},
		{`{"cors":{"origins":["*","https://a.example"],"methods":["A B"],"headers":["x:"],"expose":[""]}}`, `{}`, "cors.expose[0] cors.headers[0] cors.methods[0] cors.origins[0]"},
		{`{"cors":{"origins":["a.example","https://a.example/","https://*.a.example","HTTPS://a.example"]}}`, `{}`, "cors.origins[0] cors.origins[1] cors.origins[3]"},
		{`{"cors":{}}`, `{}`, "cors.origins"},
		{`{"security":{"contentPolicy":"a\r\nSet-Cookie: x","referrer":" x","permissions":"\u0000"}}`, `{}`, "security.contentPolicy security.permissions security.referrer"},
	} {
		var got []string
		Check(edge(t, c.policy), edge(t, c.defaults), func(path, text, hint string) {
			got = append(got, path)
			if text == "" || strings.HasSuffix(hint, ".") || strings.Contains(text+hint, "hedgeAfter") {
				t.Errorf("%s: %s: %q, %q", c.policy, path, text, hint)
			}
		})
		slices.Sort(got)
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s over %s: %s, want %s", c.policy, c.defaults, strings.Join(got, " "), c.want)
		}
	}
}

// So do those of the traffic of a service; declared zeros are not the default.
func TestTraffic(t *testing.T) {
	var v mesh.Traffic
	if err := json.Unmarshal([]byte(`{"balance":{"by":"maglev","slowStart":"0s"},"outliers":{"maxShare":101},"breaker":{"percent":101},"concurrency":{"queue":99999},"retryBudget":{"percent":101}}`), &v); err != nil {
		t.Fatal(err)
	}
	var got []string
	CheckTraffic(v, func(path, _, _ string) { got = append(got, path) })
	if want := []string{"balance.key", "outliers.maxShare", "breaker.percent", "concurrency.queue", "retryBudget.percent"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	var u snapshot.Upstream
	if Upstream(v, &u); u.Balance.SlowStart >= 0 {
		t.Errorf("slowStart: 0s became %v, want at once", u.Balance.SlowStart)
	}
	over := mesh.Traffic{Balance: &mesh.Balance{By: "least"}}.Over(v)
	if over.Balance.By != "least" || over.Balance.SlowStart != nil || over.Breaker != v.Breaker {
		t.Errorf("over the defaults: %+v", over)
	}
}

// A hint follows a semicolon, and keeps the words that are names.
func TestPhrase(t *testing.T) {
	for _, c := range [][2]string{{"Leave it out for 10s.", "leave it out for 10s"}, {"HSTS is sent over TLS.", "HSTS is sent over TLS"}, {"", ""}, {"x", "x"}} {
		if got := Phrase(c[0]); got != c[1] {
			t.Errorf("%q became %q, want %q", c[0], got, c[1])
		}
	}
}
