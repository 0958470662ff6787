package telemetry

import (
	"encoding/json"
	"testing"

	"stoa/internal/engine/hop"
)

// A span says by the semantic conventions what its hop was.
func TestSpansInTheWordsOfOpenTelemetry(t *testing.T) {
	for _, c := range []struct {
		claim            string
		r                hop.Record
		kind, name, want string // want: attributes, in JSON
	}{
		{"a call from outside",
			hop.Record{Callee: "web", Route: "web shop.example/orders/{id} GET if x", Method: "GET", Host: "shop.example:8080", Path: "/orders/7", Protocol: "HTTP/1.1", Status: 200, GRPC: -1, Address: "127.0.0.1:4000", Attempts: 1},
			"server", "GET /orders/{id}",
			`{"http.request.method":"GET","http.response.status_code":200,"http.route":"/orders/{id}","network.protocol.name":"http","network.protocol.version":"1.1","server.address":"shop.example","server.port":8080,"stoa.callee":"web","stoa.route":"web shop.example/orders/{id} GET if x","url.path":"/orders/7","url.scheme":"http"}`},
		{"what the caller did wrong is no error of the server",
			hop.Record{Method: "BREW", Host: "[::1]", Path: "/", Protocol: "HTTP/2.0", Status: 404, GRPC: -1, Reason: hop.NoRoute},
			"server", "HTTP",
			`{"http.request.method":"_OTHER","http.request.method_original":"BREW","http.response.status_code":404,"network.protocol.name":"http","network.protocol.version":"2","server.address":"::1","stoa.reason":"no-route","url.path":"/","url.scheme":"http"}`},
		{"a call inside that was repeated and failed",
			hop.Record{Caller: "web", Callee: "stock", Route: "web>stock", Method: "PUT", Host: "stock", Path: "/bowl", Protocol: "HTTP/1.1", Status: 503, GRPC: -1, Address: "[::1]:4000", Instance: "stock-1", Attempts: 3, In: 5, Out: 7},
			"client", "PUT",
			`{"error.type":"503","http.request.body.size":5,"http.request.method":"PUT","http.request.resend_count":2,"http.response.body.size":7,"http.response.status_code":503,"network.protocol.name":"http","network.protocol.version":"1.1","server.address":"::1","server.port":4000,"stoa.callee":"stock","stoa.caller":"web","stoa.instance":"stock-1","stoa.route":"web\u003estock","url.path":"/bowl"}`},
		{"a refusal inside",
			hop.Record{Caller: "web", Callee: "stock", Method: "GET", Host: "stock", Path: "/", Protocol: "HTTP/1.1", Status: 503, GRPC: -1, Reason: hop.Overload},
			"client", "GET",
			`{"error.type":"overload","http.request.method":"GET","http.response.status_code":503,"network.protocol.name":"http","network.protocol.version":"1.1","server.address":"stock","stoa.callee":"stock","stoa.caller":"web","stoa.reason":"overload","url.path":"/"}`},
		{"a failure that a fallback stood in for",
			hop.Record{Caller: "web", Callee: "stock", Method: "GET", Path: "/", Protocol: "HTTP/1.1", Status: 200, GRPC: -1, Fallback: "cached", Injected: "f1"},
			"client", "GET",
			`{"http.request.method":"GET","http.response.status_code":200,"network.protocol.name":"http","network.protocol.version":"1.1","stoa.callee":"stock","stoa.caller":"web","stoa.fallback":"cached","stoa.fault":"f1","url.path":"/"}`},
		{"gRPC",
			hop.Record{Caller: "web", Callee: "pay", Method: "POST", Path: "/shop.Pay/Charge", Protocol: "HTTP/2.0", Status: 200, GRPC: 5, Address: "127.0.0.1:4000"},
			"client", "shop.Pay/Charge",
			`{"error.type":"NOT_FOUND","http.request.method":"POST","http.response.status_code":200,"network.protocol.name":"http","network.protocol.version":"2","rpc.grpc.status_code":5,"rpc.method":"Charge","rpc.service":"shop.Pay","rpc.system":"grpc","server.address":"127.0.0.1","server.port":4000,"stoa.callee":"pay","stoa.caller":"web","url.path":"/shop.Pay/Charge"}`},
		{"TCP",
			hop.Record{Caller: "web", Callee: "db", Protocol: "tcp", GRPC: -1, Address: "127.0.0.1:5432", Reason: hop.Connect},
			"client", "tcp db",
			`{"error.type":"connect","network.transport":"tcp","server.address":"127.0.0.1","server.port":5432,"stoa.callee":"db","stoa.caller":"web","stoa.reason":"connect"}`},
	} {
		s := span(&c.r)
		describe(&s)
		got, err := json.Marshal(s.Attributes)
		if err != nil {
			t.Fatal(err)
		}
		if s.Kind != c.kind || s.Name != c.name || string(got) != c.want {
			t.Errorf("%s: %s %q\n%s\nwant %s %q\n%s", c.claim, s.Kind, s.Name, got, c.kind, c.name, c.want)
		}
	}
}
