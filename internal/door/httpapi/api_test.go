package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"stoa/api/core"
	"stoa/api/fault"
	"stoa/api/op"
	"stoa/client"
	"stoa/internal/door/httpapi"
	"stoa/internal/kernel/host"
)

// shortDir gives a fresh 0700 folder whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "stoa-t")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Requests and answers keep their types over the socket, and the platform knows who asks.
func TestCallOverTheSocket(t *testing.T) {
	s := start(t, nil)
	c := s.client(t)
	ref := core.Ref{Kind: "Service", Name: "orders"}
	got, err := client.Call(t.Context(), c, getOp, getIn{Ref: ref, Limit: 3, Since: core.Duration(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	if got.Ref != ref || got.Limit != 3 {
		t.Errorf("got %+v, want what was sent", got)
	}
	if got.Caller.UID != os.Getuid() || got.Caller.Via != "cli" || got.Caller.Name == "" {
		t.Errorf("the platform saw caller %+v, want this user by cli", got.Caller)
	}
	out, err := client.Call(t.Context(), c, applyOp, applyIn{Source: "s", Documents: []core.Document{{Kind: "Service", Name: "a"}, {Kind: "Job", Name: "b"}}})
	if err != nil || out.Revision != 2 {
		t.Errorf("apply: got %+v, %v, want revision 2", out, err)
	}
}

// A fault is the same on both sides of the wire.
func TestFaultSurvivesTheWire(t *testing.T) {
	c := start(t, nil).client(t)
	_, err := client.Call(t.Context(), c, getOp, getIn{Ref: core.Ref{Kind: "Saga", Name: "missing"}})
	var f *fault.Error
	if !errors.As(err, &f) {
		t.Fatalf("got %v, want a fault", err)
	}
	if f.Kind != fault.NotFound || f.Subject != "saga/missing" || f.Hint != "See stoa get." || f.Op != "store.get" {
		t.Errorf("got %+v", f)
	}
	if _, err := client.Call(t.Context(), c, waitOp, op.None{}); !fault.Is(err, fault.Unknown) {
		t.Errorf("a wait that ran out: got %v of kind %q, want unknown", err, fault.KindOf(err))
	}
	if _, err := client.Call(t.Context(), c, brokenOp, op.None{}); !fault.Is(err, fault.Internal) || !strings.Contains(fault.HintOf(err), "request") {
		t.Errorf("a panic: got %v with hint %q, want internal and the request's id", err, fault.HintOf(err))
	}
	if _, err := client.Call(t.Context(), c, checkOp, op.None{}); !fault.Is(err, fault.NotFound) {
		t.Errorf("a local operation was served: %v", err)
	}
	if _, err := client.Call(t.Context(), c, op.Op[op.None, op.None]{Name: "gte"}, op.None{}); fault.HintOf(err) != "did you mean get?" {
		t.Errorf("an unknown operation: got %v, hint %q", err, fault.HintOf(err))
	}
}

func TestStream(t *testing.T) {
	s := start(t, nil)
	c := s.client(t)
	read := func(in countIn) (got []int, err error) {
		seq, err := client.Follow(t.Context(), c, countOp, in)
		if err != nil {
			return nil, err
		}
		for v, err := range seq {
			if err != nil {
				return got, err
			}
			got = append(got, v.N)
		}
		return got, nil
	}
	if got, err := read(countIn{To: 1000}); err != nil || len(got) != 1000 || got[999] != 999 {
		t.Errorf("got %d items and %v, want 1000 in order", len(got), err)
	}
	if got, err := read(countIn{To: 2, Fail: true}); len(got) != 2 || !fault.Is(err, fault.Exhausted) || fault.HintOf(err) != "Count to less." {
		t.Errorf("a fault inside: got %v and %v (%s)", got, err, fault.HintOf(err))
	}
	if _, err := read(countIn{To: -1}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a fault before: got %v, want invalid", err)
	}
}

// Who leaves a stream ends the sequence behind it; a stop of the platform tells who follows.
func TestStreamEnds(t *testing.T) {
	s := start(t, nil)
	c := s.client(t)
	ctx, cancel := context.WithCancel(t.Context())
	seq, err := client.Follow(ctx, c, countOp, countIn{To: 1, Hang: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range seq {
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want canceled", err)
			}
			break
		}
		cancel()
	}
	cancel()
	<-s.waiting

	seq, err = client.Follow(t.Context(), c, countOp, countIn{To: 1, Hang: true})
	if err != nil {
		t.Fatal(err)
	}
	var last error
	for _, err := range seq {
		last = err
		if err == nil {
			<-s.waiting
			go s.stop()
		}
	}
	if !fault.Is(last, fault.Unavailable) || !strings.Contains(last.Error(), "stopping") {
		t.Errorf("the stream ended with %v, want unavailable: stopping", last)
	}
	if _, err := client.Call(t.Context(), c, getOp, getIn{}); err == nil {
		t.Error("a stopped platform answers")
	}
	s.stop()
	_, err = client.Call(t.Context(), c, getOp, getIn{})
	if !client.Unreachable(err) || fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v, want unreachable", err)
	}
}

// post sends raw JSON to the socket.
func (s *site) raw(t *testing.T, method, path, contentType, body string) (int, *fault.Error) {
	t.Helper()
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", s.socket)
	}}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://stoa"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := hc.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == 200 {
		return 200, nil
	}
	f, err := fault.Decode(b)
	if err != nil {
		t.Fatalf("%s %s: %s %q: %v", method, path, resp.Status, b, err)
	}
	return resp.StatusCode, f
}

// What a request does not have is refused by name, with the nearest that it has.
func TestStrictRequests(t *testing.T) {
	s := start(t, nil)
	js := "application/json"
	for _, c := range []struct {
		name, method, path, ct, body string
		status                       int
		want, hint                   string
	}{
		{"good", "POST", "/v1/apply", js, `{"source":"s","documents":[{"kind":"Service","name":"a","sections":{"run":{"any":1}}}]}`, 200, "", ""},
		{"empty is {}", "POST", "/v1/apply", "", "", 200, "", ""},
		{"unknown field", "POST", "/v1/apply", js, `{"sorce":"s"}`, 400, "sorce: there is no such field", "did you mean source?"},
		{"unknown inner field", "POST", "/v1/apply", js, `{"documents":[{},{"knd":"x"}],"note":{"autor":"me"}}`, 400,
			"documents[1].knd: there is no such field; note.autor: there is no such field", "did you mean kind?"},
		{"other case", "POST", "/v1/apply", js, `{"Source":"s"}`, 400, "Source: there is no such field", "did you mean source?"},
		{"twice", "POST", "/v1/apply", js, `{"source":"a","source":"b"}`, 400, "source: written twice", ""},
		{"wrong type", "POST", "/v1/apply", js, `{"source":7}`, 400, "source: want a string, not a number", ""},
		{"more after", "POST", "/v1/apply", js, `{} {}`, 400, "more after", ""},
		{"breaks off", "POST", "/v1/apply", js, `{"source":"s`, 400, "breaks off", ""},
		{"no JSON", "POST", "/v1/apply", js, `source=s`, 400, "no JSON", ""},
		{"deep", "POST", "/v1/apply", js, `{"documents":` + strings.Repeat(`[`, 100000) + strings.Repeat(`]`, 100000) + `}`, 400, "", ""},
		{"a form's type", "POST", "/v1/apply", "text/plain", `{}`, 415, "application/json", ""},
		{"query on POST", "POST", "/v1/apply?source=s", js, `{}`, 400, "no query", ""},
		{"unknown parameter", "GET", "/v1/get?limt=3", "", "", 400, `no parameter "limt"`, "did you mean limit?"},
		{"parameter twice", "GET", "/v1/get?limit=3&limit=4", "", "", 400, "given 2 times", ""},
		{"bad number", "GET", "/v1/get?limit=x", "", "", 400, "limit: want a whole number", ""},
		{"bad duration", "GET", "/v1/get?since=soon", "", "", 400, "since: want a duration", ""},
		{"change by GET", "GET", "/v1/service.reset", "", "", 405, "is a POST", ""},
		{"read by POST", "POST", "/v1/get", js, "{}", 405, "is a GET", ""},
		{"unknown", "GET", "/v1/", "", "", 404, "no such operation", ""},
		{"elsewhere", "GET", "/nothing", "", "", 404, "nothing is here", ""},
		{"too long", "POST", "/v1/service.reset", js, `{"a":"` + strings.Repeat("x", 9<<20) + `"}`, 413, "longer than 8388608 bytes", ""},
		{"long where allowed", "POST", "/v1/apply", js, `{"source":"s"}` + strings.Repeat(" ", 9<<20), 200, "", ""},
		{"too long there", "POST", "/v1/apply", js, `{"source":"` + strings.Repeat("x", 17<<20) + `"}`, 413, "longer than 16777216 bytes", ""},
	} {
		status, f := s.raw(t, c.method, c.path, c.ct, c.body)
		if status != c.status {
			t.Errorf("%s: got status %d (%v), want %d", c.name, status, f, c.status)
			continue
		}
		if f == nil {
			continue
		}
		if !strings.Contains(f.Error(), c.want) || c.hint != "" && f.Hint != c.hint {
			t.Errorf("%s: got %q, hint %q; want %q, hint %q", c.name, f, f.Hint, c.want, c.hint)
		}
	}
	if s.resets != 0 {
		t.Errorf("a refused request was carried out %d times", s.resets)
	}
}

// The door tells of each operation who asked, what, and how it ended.
func TestRecords(t *testing.T) {
	var mu sync.Mutex
	var got []httpapi.Record
	s := start(t, func(o *httpapi.Options) {
		o.Record = func(r httpapi.Record) { mu.Lock(); defer mu.Unlock(); got = append(got, r) }
	})
	c := s.client(t)
	client.Call(t.Context(), c, resetOp, op.None{})
	client.Call(t.Context(), c, getOp, getIn{Ref: core.Ref{Kind: "Saga", Name: "missing"}})
	s.stop()
	mu.Lock()
	defer mu.Unlock()
	if len(got) != 2 {
		t.Fatalf("got %d records, want 2: %+v", len(got), got)
	}
	if r := got[0]; r.Op != "service.reset" || r.Effect != op.Destroy || r.Outcome != "" || r.Caller.UID != os.Getuid() || r.RequestID == "" {
		t.Errorf("the first record is %+v", r)
	}
	if r := got[1]; r.Op != "get" || r.Outcome != fault.NotFound {
		t.Errorf("the second record is %+v", r)
	}
}

// The document is valid OpenAPI 3.1 by a public validator, and has every served operation.
func TestOpenAPI(t *testing.T) {
	cat := host.Build(&fake{})
	doc, err := httpapi.OpenAPI(cat, "1.2.3", nil)
	if err != nil {
		t.Fatal(err)
	}
	loader := openapi3.NewLoader()
	d, err := loader.LoadFromData(doc)
	if err != nil {
		t.Fatalf("it does not load: %v", err)
	}
	if err := d.Validate(t.Context()); err != nil {
		t.Fatalf("it is not valid: %v\n%s", err, doc)
	}
	if d.OpenAPI != "3.1.0" {
		t.Errorf("it says version %s", d.OpenAPI)
	}
	for _, x := range cat.Operations {
		item := d.Paths.Value("/v1/" + x.Name)
		switch {
		case x.Local && item != nil:
			t.Errorf("%s is local and is in it", x.Name)
		case !x.Local && (item == nil || item.GetOperation(op.Method(x.Effect, x.In)) == nil):
			t.Errorf("%s is not in it", x.Name)
		}
	}
	// A validator that takes anything would prove nothing.
	bad := bytes.Replace(doc, []byte(`"responses"`), []byte(`"answers"`), 1)
	if d, err := openapi3.NewLoader().LoadFromData(bad); err == nil && d.Validate(t.Context()) == nil {
		t.Error("the validator takes an operation without responses")
	}
	if s := start(t, nil); true {
		if status, f := s.raw(t, "GET", "/openapi.json", "", ""); status != 200 {
			t.Errorf("it is not served: %d %v", status, f)
		}
	}
	if !json.Valid(doc) {
		t.Error("it is no JSON")
	}
}
