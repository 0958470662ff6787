package httpapi

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"

	"stoa/api/op"
	"stoa/internal/kernel/host"
	"stoa/internal/kernel/shape"
)

// OpenAPI gives the operation table as an OpenAPI 3.1 document in JSON. doc describes
// types and fields; it may be nil.
func OpenAPI(c *host.Catalog, version string, doc func(t reflect.Type, field string) string) ([]byte, error) {
	schemas := &shape.Schemas{Prefix: "#/components/schemas/", Doc: doc}
	paths, tags := map[string]any{}, []any{}
	tagged := map[string]bool{}
	for _, x := range c.Operations {
		if x.Local {
			continue
		}
		tag := x.Owner
		if tag == "" {
			tag = "platform"
		}
		if !tagged[tag] {
			tagged[tag] = true
			tags = append(tags, map[string]any{"name": tag})
		}
		method := op.Method(x.Effect, x.In)
		paths["/v1/"+x.Name] = map[string]any{strings.ToLower(method): operation(schemas, x, method, tag)}
	}
	schemas.Of(reflect.TypeFor[faultBody]())
	if version == "" {
		version = "unknown"
	}
	return json.MarshalIndent(map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title": "Stoa admin API", "version": version,
			"description": "Every operation of the platform. Reached through the Unix socket by the platform's own user, and from a browser with a session.",
			"license":     map[string]any{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"tags":       tags,
		"paths":      paths,
		"components": map[string]any{"schemas": schemas.Defs},
	}, "", "  ")
}

// faultBody is a fault as it travels; see api/fault.
type faultBody struct {
	Error struct {
		Kind    string `json:"kind" required:"true" enum:"invalid,not found,conflict,denied,unavailable,exhausted,unknown,internal"`
		Op      string `json:"op,omitempty"`
		Subject string `json:"subject,omitempty"`
		Message string `json:"message,omitempty"`
		Hint    string `json:"hint,omitempty"`
	} `json:"error" required:"true"`
}

func operation(schemas *shape.Schemas, x host.Operation, method, tag string) map[string]any {
	o := map[string]any{
		"operationId":   x.Name,
		"summary":       x.Help,
		"tags":          []string{tag},
		"x-stoa-effect": string(x.Effect),
	}
	if x.Example != "" {
		o["x-stoa-example"] = x.Example
	}
	help := map[string]string{}
	required := map[string]bool{}
	for _, f := range op.Fields(x.In) {
		help[f.Name] = f.Help
		required[f.Name] = f.Arg != "" && !f.Optional && !f.Rest
	}
	if method == http.MethodGet {
		params := []any{}
		for _, f := range shape.Of(x.In).Fields {
			s := schemas.Field(f)
			delete(s, "description")
			p := map[string]any{"name": f.Name, "in": "query", "schema": s}
			if h := help[f.Name]; h != "" {
				p["description"] = h
			}
			if f.Required || required[f.Name] {
				p["required"] = true
			}
			params = append(params, p)
		}
		if len(params) > 0 {
			o["parameters"] = params
		}
	} else {
		o["requestBody"] = map[string]any{"content": content("application/json", schemas.Of(x.In))}
	}
	media, what := "application/json", "The answer."
	if x.Stream != nil {
		media, what = "application/x-ndjson", "A stream: one JSON object a line, of the schema given. Empty lines are signs of life. A fault inside the stream is its last line."
	}
	o["responses"] = map[string]any{
		"200":     map[string]any{"description": what, "content": content(media, schemas.Of(x.Out))},
		"default": map[string]any{"description": "A fault.", "content": content("application/json", schemas.Of(reflect.TypeFor[faultBody]()))},
	}
	return o
}

func content(media string, schema map[string]any) map[string]any {
	return map[string]any{media: map[string]any{"schema": schema}}
}

// openapi answers GET /openapi.json.
func (s *Server) openapi(w http.ResponseWriter, _ *http.Request) {
	b, err := OpenAPI(s.o.Catalog, s.o.Version, s.o.Doc)
	if err != nil {
		fail(w, err, 0)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(b) // a caller who is gone is not told
}
