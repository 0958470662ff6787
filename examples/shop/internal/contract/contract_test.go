package contract

import (
	"net/http"
	"os"
	"strings"
	"testing"
)

const document = `
openapi: 3.1.0
paths:
  /things/{id}:
    get:
      responses:
        "200":
          content: {application/json: {schema: {$ref: "#/components/schemas/Thing"}}}
        "404": {description: none}
components:
  schemas:
    Thing: {type: object, required: [id], properties: {id: {type: string}, made: {type: string, format: date-time}}}
`

// What breaks a contract is found: this test is the control of all the others.
func TestBreachesAreFound(t *testing.T) {
	for _, c := range []struct {
		name, method, path string
		status             int
		media, body        string
		want               string // part of the error; empty: none
	}{
		{"kept", "GET", "/things/1", 200, "application/json", `{"id":"1"}`, ""},
		{"kept, no body", "GET", "/things/1", 404, "", "", ""},
		{"a required field is missing", "GET", "/things/1", 200, "application/json", `{}`, "id"},
		{"wrong type", "GET", "/things/1", 200, "application/json", `{"id":1}`, "string"},
		{"wrong format", "GET", "/things/1", 200, "application/json", `{"id":"1","made":"today"}`, "date-time"},
		{"wrong media type", "GET", "/things/1", 200, "text/html", `{"id":"1"}`, "text/html"},
		{"undeclared status", "GET", "/things/1", 500, "application/json", `{}`, "declares no 500"},
		{"undeclared path", "GET", "/things/1/2", 200, "application/json", `{}`, "no operation"},
		{"undeclared method", "PUT", "/things/1", 200, "application/json", `{}`, "no operation"},
		{"undeclared body", "GET", "/things/1", 404, "application/json", `{}`, "none is declared"},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := parse(t)
			err := client.check(c.method, c.path, "", Answer{c.status, http.Header{"Content-Type": {c.media}}, []byte(c.body)})
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got %v, want no breach", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want a breach that tells of %q", err, c.want)
			}
		})
	}
}

func parse(t *testing.T) *Client {
	file := t.TempDir() + "/openapi.yaml"
	if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	return Dial(t, file, "http://unused")
}
