// Package snapshot is what a node must know to carry traffic: listeners, routes,
// upstreams, static sites. It is a value: serialisable, immutable once made, and complete,
// so that a node that has it needs nobody.
//
//	fragments of modules --Merge--> Snapshot --Save--> disk
//	                                   \--Swap--> engine/proxy
//
// Listeners are logical: "gateway", "gateway:admin", "orders>inventory". Where a listener
// that has no address is bound is the node's own affair. Which endpoints an upstream has
// changes much oftener than the rest, so endpoint sets travel apart (Endpoints).
//
// Merge is pure and finds every problem at once: one name declared differently by two
// modules, a route that leads nowhere, two routes that match one request.
package snapshot

import (
	"cmp"
	"time"

	"stoa/internal/engine/balance"
	"stoa/internal/engine/breaker"
	"stoa/internal/engine/certs"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/limit"
	"stoa/internal/engine/outlier"
	"stoa/internal/engine/retry"
	"stoa/internal/engine/route"
)

// Version says how new a snapshot is. A revision is an apply, a serial is everything
// else; serials go on counting over revisions.
type Version struct {
	Revision uint64 `json:"revision"`
	Serial   uint64 `json:"serial"`
}

// Compare orders versions: -1 if v is older than w.
func (v Version) Compare(w Version) int {
	return cmp.Or(cmp.Compare(v.Revision, w.Revision), cmp.Compare(v.Serial, w.Serial))
}

// Protocol is what is spoken on a listener or with an endpoint.
type Protocol string

// The protocols. A listener speaks HTTP (1.1 and 2 in clear text, told apart by the
// first bytes) or TCP; an upstream one of the others.
const (
	HTTP  Protocol = "http"
	TCP   Protocol = "tcp"
	HTTP1 Protocol = "http1" // HTTP/1.1
	H2C   Protocol = "h2c"   // HTTP/2 in clear text with prior knowledge: gRPC
	HTTPS Protocol = "https" // TLS, HTTP/1.1 or HTTP/2 by ALPN; an external origin
)

// Snapshot is the whole of it. Treat as immutable.
type Snapshot struct {
	Version   Version             `json:"version"`
	Listeners map[string]Listener `json:"listeners,omitempty"`
	Upstreams map[string]Upstream `json:"upstreams,omitempty"`
	Sites     map[string]Site     `json:"sites,omitempty"`
	Policies  map[string]Policy   `json:"policies,omitempty"` // rules name them; a rule that names none has the defaults
}

// Listener is where calls arrive. Which listener a call arrives at says who calls.
type Listener struct {
	Caller   string       `json:"caller,omitempty"`   // service; empty for outside: an edge, where identity headers are not believed
	Protocol Protocol     `json:"protocol"`           // HTTP or TCP
	Address  string       `json:"address,omitempty"`  // "127.0.0.1:8080" for a gateway; empty: bound by the node where it likes
	Routes   []route.Rule `json:"routes,omitempty"`   // HTTP
	Upstream string       `json:"upstream,omitempty"` // TCP
	NewTrace bool         `json:"newTrace,omitempty"` // an edge that does not continue the traces of outside
	Heads    Heads        `json:"heads,omitzero"`     // bounds of the heads of requests, see Bounds

	TLS      *certs.Config `json:"tls,omitempty"`      // nil: clear text
	Redirect string        `json:"redirect,omitempty"` // an address of clear text that leads to this one over TLS: ":80"
}

// Edge says whether the listener faces outside.
func (l Listener) Edge() bool { return l.Caller == "" }

// Bounds of an upstream that are used where it says 0.
const (
	DefaultHold    = 5 * time.Second  // a call to a service that is starting waits this long
	DefaultConnect = 2 * time.Second  // for one connection
	DefaultTCPIdle = time.Hour        // a TCP connection on which nothing passes
	DefaultIdle    = 55 * time.Second // a kept connection to an endpoint; below what most servers allow
)

// Upstream is a service, or one of its listeners, that can be called. Durations are in
// nanoseconds; 0 means the default above, negative means none.
type Upstream struct {
	Service  string        `json:"service,omitempty"` // for metrics and records; empty: the upstream's name
	Protocol Protocol      `json:"protocol"`          // HTTP1, H2C, HTTPS or TCP; an endpoint may say otherwise
	Hold     time.Duration `json:"hold,omitempty"`    // how long a call waits for an endpoint to become ready
	Connect  time.Duration `json:"connect,omitempty"` // for one connection to be made
	Head     time.Duration `json:"head,omitempty"`    // for the first byte of an answer; 0: only the caller's deadline
	Idle     time.Duration `json:"idle,omitempty"`    // HTTP: a kept connection; TCP: nothing passes either way
	Host     string        `json:"host,omitempty"`    // Host to send; empty: the caller's, but the endpoint's for HTTPS

	Balance  balance.Config     `json:"balance,omitzero"`
	Outliers outlier.Config     `json:"outliers,omitzero"`
	Breaker  breaker.Config     `json:"breaker,omitzero"`
	Budget   retry.BudgetConfig `json:"budget,omitzero"` // of repeats
	Limit    limit.Config       `json:"limit,omitzero"`  // of what is in flight
}

// Site is a directory of files.
type Site struct {
	Service string `json:"service,omitempty"` // for metrics and records
	Dir     string `json:"dir"`
	SPA     bool   `json:"spa,omitempty"`    // a path without a file gets index.html, if the caller accepts HTML
	Cache   string `json:"cache,omitempty"`  // Cache-Control; empty: "no-cache", so that every use is revalidated
	Digest  string `json:"digest,omitempty"` // of the content, part of the ETag
}

// Endpoint is one place where an upstream answers.
type Endpoint struct {
	ID       string   `json:"id"`                 // unique in the system; names it over its life
	Address  string   `json:"address"`            // host:port
	Protocol Protocol `json:"protocol,omitempty"` // empty: the upstream's
	Instance string   `json:"instance,omitempty"` // for records
}

// Endpoints is the ready set of one upstream.
type Endpoints struct {
	Upstream  string     `json:"upstream"`
	Endpoints []Endpoint `json:"endpoints"`
}

// Closed says why an upstream has no endpoint, and that none is on its way: a call is
// refused at once, where it would wait for a service that is starting. What it says is
// told to callers, also those outside: it names services, never addresses.
type Closed struct {
	Reason hop.Reason `json:"reason"`
	Text   string     `json:"text"`           // "orders was stopped"
	Hint   string     `json:"hint,omitempty"` // what to do, with a command
}
