// Package contract holds a service to its OpenAPI document, in tests.
//
// A test drives the real handler through a Client. Every answer is checked: is its
// operation in the document, is its status declared, has it the declared media type,
// and is its body valid against the declared schema (JSON Schema 2020-12, which
// OpenAPI 3.1 uses as it is)? A body that is sent is checked too, unless the service
// refused it. Done then fails for every response that was declared and never seen, so
// that a document cannot promise what nobody has tried.
//
// It reads what the shop's documents use: paths, parameters in the path, JSON bodies
// and local references. It is no validator of OpenAPI documents.
package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// where the document lives for the schema compiler, which wants a URL
const location = "http://contract.invalid/openapi.json"

// A Client talks to a service and compares what it hears with the document.
type Client struct {
	t       *testing.T
	base    string
	doc     map[string]any
	schemas *jsonschema.Compiler
	seen    map[string]bool // "GET /charges/{id} 404"
}

// Serve starts h and returns a client that holds it to the document in file.
func Serve(t *testing.T, file string, h http.Handler) *Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return Dial(t, file, server.URL)
}

// Dial returns a client for a service that runs at base already.
func Dial(t *testing.T, file, base string) *Client {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var raw any
	if err := yaml.Unmarshal(b, &raw); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	// Through JSON and back: the compiler wants numbers as encoding/json gives them.
	j, err := json.Marshal(raw)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(j))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource(location, doc); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	client := &Client{t: t, base: base, doc: doc.(map[string]any), schemas: c, seen: map[string]bool{}}
	if v, _ := client.doc["openapi"].(string); !strings.HasPrefix(v, "3.1.") {
		t.Fatalf("%s: openapi is %q, want 3.1", file, v)
	}
	return client
}

// An Answer is what the service said, checked already.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Text returns the string at a path of keys in the body, empty if there is none.
func (a Answer) Text(path ...string) string {
	var v any
	_ = json.Unmarshal(a.Body, &v)
	for _, key := range path {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	s, _ := v.(string)
	return s
}

// Do sends a request and wants the answer to have a status and to keep the contract.
// headers are pairs of name and value.
func (c *Client) Do(want int, method, path, body string, headers ...string) Answer {
	c.t.Helper()
	r, err := http.NewRequest(method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	a := Answer{res.StatusCode, res.Header, b}
	what := fmt.Sprintf("%s %s", method, path)
	if a.Status != want {
		c.t.Fatalf("%s: status %d, want %d; body:\n%s", what, a.Status, want, b)
	}
	if err := c.check(method, r.URL.EscapedPath(), body, a); err != nil {
		c.t.Fatalf("%s: %d breaks the contract: %v; body:\n%s", what, a.Status, err, b)
	}
	return a
}

// Done fails the test for every response of the document that no answer was.
func (c *Client) Done() {
	c.t.Helper()
	for _, op := range c.operations() {
		responses, _ := op.spec["responses"].(map[string]any)
		if len(responses) == 0 {
			c.t.Errorf("%s %s declares no responses", op.method, op.path)
		}
		for status := range responses {
			if id := op.method + " " + op.path + " " + status; !c.seen[id] {
				c.t.Errorf("%s is declared, but no answer was it", id)
			}
		}
	}
}

type operation struct {
	method, path string // GET, /charges/{id}
	spec         map[string]any
	pointer      string // JSON pointer of spec, escaped
}

func (c *Client) operations() []operation {
	var ops []operation
	paths, _ := c.doc["paths"].(map[string]any)
	for path, item := range paths {
		for method, spec := range item.(map[string]any) {
			if !slices.Contains([]string{"get", "put", "post", "delete", "patch"}, method) {
				continue
			}
			ops = append(ops, operation{strings.ToUpper(method), path, spec.(map[string]any), "/paths/" + escape(path) + "/" + method})
		}
	}
	return ops
}

func (c *Client) check(method, path, sent string, a Answer) error {
	ops := c.operations()
	at := slices.IndexFunc(ops, func(o operation) bool { return o.method == method && matches(o.path, path) })
	if at < 0 {
		return fmt.Errorf("no operation of the document is meant")
	}
	op := ops[at]
	status := strconv.Itoa(a.Status)
	responses, _ := op.spec["responses"].(map[string]any)
	response, ok := responses[status].(map[string]any)
	if !ok {
		return fmt.Errorf("%s %s declares no %s", op.method, op.path, status)
	}
	c.seen[op.method+" "+op.path+" "+status] = true

	pointer := op.pointer + "/responses/" + status
	if ref, ok := response["$ref"].(string); ok {
		pointer = strings.TrimPrefix(ref, "#")
		if response, ok = c.at(pointer).(map[string]any); !ok {
			return fmt.Errorf("%s leads nowhere", ref)
		}
	}
	if body, ok := op.spec["requestBody"].(map[string]any); ok && a.Status < 300 {
		if _, ok := body["content"].(map[string]any)["application/json"]; !ok {
			return fmt.Errorf("the request body has no application/json")
		}
		if err := c.valid(op.pointer+"/requestBody/content/"+escape("application/json")+"/schema", []byte(sent)); err != nil {
			return fmt.Errorf("the request that was accepted: %w", err)
		}
	}

	content, _ := response["content"].(map[string]any)
	if len(content) == 0 {
		if len(a.Body) > 0 {
			return fmt.Errorf("a body, where none is declared")
		}
		return nil
	}
	media, _, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	if _, ok := content[media]; !ok {
		return fmt.Errorf("media type %s is not declared", media)
	}
	if !strings.HasSuffix(media, "json") {
		return nil
	}
	return c.valid(pointer+"/content/"+escape(media)+"/schema", a.Body)
}

func (c *Client) valid(pointer string, body []byte) error {
	schema, err := c.schemas.Compile(location + "#" + pointer)
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return schema.Validate(v)
}

// at returns what a JSON pointer (RFC 6901) leads to, nil if nothing.
func (c *Client) at(pointer string) any {
	var v any = c.doc
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		m, _ := v.(map[string]any)
		v = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(part)]
	}
	return v
}

var parameter = regexp.MustCompile(`\\\{[^/]+\\\}`)

func matches(template, path string) bool {
	pattern := parameter.ReplaceAllString(regexp.QuoteMeta(template), `[^/]+`)
	return regexp.MustCompile("^" + pattern + "$").MatchString(path)
}

// escape makes a key fit for a JSON pointer in a URL fragment.
func escape(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(key)
}
