// Package telemetry is the twin of the module that keeps what was observed of traffic
// and output: log lines, traces, rates.
package telemetry

import (
	"stoa/api/core"
	"stoa/api/op"
)

// Line is one line that a service or Stoa wrote.
type Line struct {
	At       core.Time      `json:"at"`
	Service  string         `json:"service"`
	Instance string         `json:"instance,omitempty"`
	Stream   string         `json:"stream"`            // stdout, stderr, build, access, stoa
	Level    string         `json:"level,omitempty"`   // debug, info, warn, error, if the line says
	Text     string         `json:"text"`              // the message, or the whole line
	TraceID  string         `json:"traceId,omitempty"` // if the line says
	Fields   map[string]any `json:"fields,omitempty"`  // the other members of a line of JSON
}

// LogsIn chooses lines.
type LogsIn struct {
	Service string        `json:"service,omitempty" arg:"SERVICE,optional" help:"only this service (default: all)"`
	Follow  bool          `json:"follow,omitempty" flag:"follow,f" help:"go on as lines arrive"`
	Since   core.Duration `json:"since,omitempty" flag:"since" help:"only lines younger than this"`
	Tail    int           `json:"tail,omitempty" flag:"tail,n" help:"at most this many of the past (default 200)"`
	Level   string        `json:"level,omitempty" flag:"level" help:"only this level and above: debug, info, warn, error"`
	Trace   string        `json:"trace,omitempty" flag:"trace" help:"only lines of this trace"`
	Access  bool          `json:"access,omitempty" flag:"access" help:"the access log too: one line for each request and hop"`
}

// Span is one hop of a trace. Kind, Name and Attributes say it in the words of OpenTelemetry's
// semantic conventions; docs/formats/spans.md lists them.
type Span struct {
	SpanID         string    `json:"spanId"`
	ParentID       string    `json:"parentId,omitempty"`
	Caller         string    `json:"caller"` // service, or "" for outside
	Callee         string    `json:"callee"`
	Route          string    `json:"route,omitempty"`
	Method         string    `json:"method"`
	Host           string    `json:"host,omitempty"` // as the caller said, with its port
	Path           string    `json:"path"`
	Protocol       string    `json:"protocol"`
	TLS            bool      `json:"tls,omitempty"` // the caller came over TLS
	Status         int       `json:"status"`
	GRPCStatus     string    `json:"grpcStatus,omitempty"`
	Start          core.Time `json:"start"`
	DurationMicros int64     `json:"durationMicros"`
	HeadMicros     int64     `json:"headMicros,omitempty"` // until the answer's first byte
	HeldMicros     int64     `json:"heldMicros,omitempty"` // of it, waiting for an endpoint to become ready
	Endpoint       string    `json:"endpoint,omitempty"`   // host:port
	Instance       string    `json:"instance,omitempty"`
	Attempts       int       `json:"attempts,omitempty"`      // connections on which the request was begun
	RequestBytes   int64     `json:"requestBytes,omitempty"`  // of body, from the caller
	ResponseBytes  int64     `json:"responseBytes,omitempty"` // of body, to it
	Reason         string    `json:"reason,omitempty"`        // why the proxy answered by itself
	Fallback       string    `json:"fallback,omitempty"`      // what stood in for a failure
	Fault          string    `json:"fault,omitempty"`         // id of the injected fault that it met
	Error          string    `json:"error,omitempty"`
	Depth          int       `json:"depth"`        // of the tree, 0 for the root
	OffsetMicros   int64     `json:"offsetMicros"` // from the start of the trace

	Kind       string         `json:"kind,omitempty"`       // server for a call from outside, else client
	Name       string         `json:"name,omitempty"`       // of few values: method and route, or the method of gRPC
	Attributes map[string]any `json:"attributes,omitempty"` // strings and integers
}

// Trace is the hops of one request from outside, in the order of the tree.
type Trace struct {
	ID             string    `json:"id"`
	Start          core.Time `json:"start"`
	DurationMicros int64     `json:"durationMicros"`
	Spans          []Span    `json:"spans"`
	Lines          []Line    `json:"lines,omitempty"` // log lines that name the trace
}

// TraceIn chooses a trace.
type TraceIn struct {
	ID string `json:"id" arg:"TRACE" help:"trace id (32 hex digits, or the first 8 or more), or 'last'"`
}

// TracesIn chooses among the latest traces.
type TracesIn struct {
	Service string        `json:"service,omitempty" flag:"service" help:"only traces that touch this service"`
	Errors  bool          `json:"errors,omitempty" flag:"errors" help:"only traces with an error"`
	Slower  core.Duration `json:"slower,omitempty" flag:"slower" help:"only traces that took at least this"`
	Limit   int           `json:"limit,omitempty" flag:"limit,n" help:"at most this many (default 20)"`
}

// TraceHead is a trace in one line.
type TraceHead struct {
	ID             string    `json:"id"`
	Start          core.Time `json:"start"`
	Name           string    `json:"name"` // method and path of the root
	Status         int       `json:"status"`
	DurationMicros int64     `json:"durationMicros"`
	Hops           int       `json:"hops"`
	Errors         int       `json:"errors"`
	Saved          int       `json:"saved,omitempty"` // of these, failures that no caller saw: a fallback stood in
	Services       []string  `json:"services"`
}

// TracesOut lists traces, newest first.
type TracesOut struct {
	Traces []TraceHead `json:"traces"`
	Kept   int         `json:"kept"` // traces among which these were looked for
}

// EdgeRate is what passed between two services over the last 10 s.
type EdgeRate struct {
	From      string  `json:"from"` // service, or "gateway" for outside
	To        string  `json:"to"`
	Rate      float64 `json:"rate"`      // requests per second
	ErrorRate float64 `json:"errorRate"` // share, 0 to 1
	P50Millis float64 `json:"p50Millis"`
	P99Millis float64 `json:"p99Millis"`
	InFlight  int     `json:"inFlight"`
	Total     uint64  `json:"total"` // since the start
}

// Guard is what the resilience patterns do at one place, beside letting requests pass.
type Guard struct {
	Name     string     `json:"name"`               // upstream, which is most often a service; listener and route for a rate
	Service  string     `json:"service,omitempty"`  // that is called there, if that is known
	Breaker  string     `json:"breaker,omitempty"`  // open or half-open; "" when closed
	Since    *core.Time `json:"since,omitempty"`    // when that was first seen, some two seconds late; nil when closed
	Before   *Passed    `json:"before,omitempty"`   // what callers got in the ten seconds before the breaker was seen to leave closed
	Hasty    []Hasty    `json:"hasty,omitempty"`    // breakers that are not closed, of callers who wait less long than others
	Ejected  int        `json:"ejected,omitempty"`  // endpoints that are left alone for a while
	Limit    int        `json:"limit,omitempty"`    // how many requests may be there at one time; 0 for any number
	InFlight int        `json:"inFlight,omitempty"` // requests that count to Limit
	Waiting  int        `json:"waiting,omitempty"`  // requests that wait for a place
	Overload float64    `json:"overload,omitempty"` // 0 to 1
	Budget   *float64   `json:"budget,omitempty"`   // what is left for repeats, 0 to 1, if anything has asked
	Done     []Defence  `json:"done,omitempty"`
	Shed     []Shed     `json:"shed,omitempty"` // what of Done was refused to spare it, by priority, the highest first
}

// Hasty is the breaker of those callers of an upstream who wait so long for an answer, where
// others wait longer. It refuses their calls only.
type Hasty struct {
	Timeout string     `json:"timeout"` // how long they wait
	Breaker string     `json:"breaker"` // open or half-open
	Since   *core.Time `json:"since,omitempty"`
	Before  *Passed    `json:"before,omitempty"` // what all callers got
}

// Defence is one thing that a guard did, and how often.
type Defence struct {
	What  string  `json:"what"`          // retried, not-retried, refused, ejected, fallback, hedged, injected, cache
	Why   string  `json:"why,omitempty"` // of these, which: breaker, budget, cached, hit, ...
	Rate  float64 `json:"rate"`          // per second, over the last 10 s
	Total uint64  `json:"total"`         // since the start
}

// Shed is how often requests of one priority were refused to spare an upstream.
type Shed struct {
	Priority string  `json:"priority"` // critical, normal, low, bulk
	Why      string  `json:"why"`      // breaker (it fails), limit (no place in time), shed (others are more important)
	Rate     float64 `json:"rate"`     // per second, over the last 10 s
	Total    uint64  `json:"total"`    // since the start
}

// Passed is how many requests passed in a time, and how many failed, as their callers saw it.
type Passed struct {
	Requests uint64 `json:"requests"`
	Failed   uint64 `json:"failed"`
}

// TopOut is the traffic of the moment, busiest first.
type TopOut struct {
	At     core.Time  `json:"at"`
	Edges  []EdgeRate `json:"edges"`            // those without a request in the last 10 s too, at rate 0
	Guards []Guard    `json:"guards,omitempty"` // those that have ever done something, or stand otherwise than at rest; with all, the others too
	All    bool       `json:"all,omitempty"`    // as asked: the text shows those too
}

// TopIn asks for the traffic of the moment.
type TopIn struct {
	Follow bool `json:"follow,omitempty" flag:"follow,f" help:"go on, once a second"`
	All    bool `json:"all,omitempty" flag:"all,a" help:"show those too between whom nothing passed in the last 10 s"`
}

// The operations.
var (
	LogsOp   = op.Op[LogsIn, Line]{Name: "logs", Help: "show what services wrote", Example: "stoa logs -f orders"}
	TraceOp  = op.Op[TraceIn, Trace]{Name: "trace", Help: "show the path of one request through the system", Example: "stoa trace last"}
	TracesOp = op.Op[TracesIn, TracesOut]{Name: "traces", Help: "list the latest traces", Example: "stoa traces --errors"}
	TopOp    = op.Op[TopIn, TopOut]{Name: "top", Help: "show who calls whom, how often, how fast", Example: "stoa top -f"}
)
