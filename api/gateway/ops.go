package gateway

import "stoa/api/op"

// RouteIn asks what would become of a request. Nothing is sent.
type RouteIn struct {
	Method  string   `json:"method" arg:"METHOD" help:"as in GET"`
	Path    string   `json:"path" arg:"PATH" help:"path, with its query if it has one"`
	Headers []string `json:"headers,omitempty" flag:"header" help:"NAME=VALUE of the request; may be given several times"`
	Host    string   `json:"host,omitempty" flag:"host" help:"host that is asked for (default: none that a path names)"`
	From    string   `json:"from,omitempty" flag:"from" help:"service that calls (default: somebody outside)"`
	To      string   `json:"to,omitempty" flag:"to" help:"service that it calls, if it uses several"`

	Blueprint string `json:"blueprint,omitempty" flag:"blueprint" help:"folder of a blueprint, to ask as if it were applied; no platform is needed"`
	Env       string `json:"env,omitempty" flag:"env" help:"environment of that blueprint (default: dev)"`
}

// Offline says whether it is answered from files alone, without a platform.
func (r RouteIn) Offline() bool { return r.Blueprint != "" }

// Route is what would become of a request by the snapshot in force.
type Route struct {
	Answer   string    `json:"answer"`             // in a sentence
	Revision uint64    `json:"revision"`           // of the snapshot
	Listener string    `json:"listener"`           // "gateway", or "orders>inventory"
	Status   int       `json:"status,omitempty"`   // of an answer for which no service is called: 400, 404, 405, a redirect's
	Location string    `json:"location,omitempty"` // of a redirect
	Target   string    `json:"target,omitempty"`   // path and query as the service is asked for them
	Callees  []Callee  `json:"callees,omitempty"`  // the service that is called, or the sides of a split
	Rules    []Verdict `json:"rules"`              // that won, that match too, and that would but for method or conditions
	Others   int       `json:"others"`             // rules for other hosts and paths
	Settings []Setting `json:"settings,omitempty"` // how the call is carried
}

// Callee is one service to which a request may go.
type Callee struct {
	Service  string    `json:"service"`
	Upstream string    `json:"upstream"` // the service, or service/port
	Percent  float64   `json:"percent"`  // of the requests: 100 without a split
	Settings []Setting `json:"settings,omitempty"`
}

// Verdict is what became of one rule.
type Verdict struct {
	Name    string `json:"name"`
	Pattern string `json:"pattern"` // "GET shop.example/orders/* if X-Beta: 1"
	Source  string `json:"source"`  // "service/orders expose[0]"
	Result  string `json:"result"`  // won, lost, near
	Why     string `json:"why"`
}

// Setting is how one thing is done.
type Setting struct {
	Name  string `json:"name"`  // as it is declared: "timeout"
	Value string `json:"value"` // in words
	From  string `json:"from"`  // where it is declared, "System defaults", or "default"
}

// RouteOp explains a route.
var RouteOp = op.Op[RouteIn, Route]{
	Name: "explain.route", Help: "tell where a request would go, by which rule, and how it would be carried",
	Example: "stoa explain route GET /api/orders/7",
}
