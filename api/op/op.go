// Package op states an operation once: its name, its request and answer types and its
// effect. From that one statement come the HTTP endpoint (/v1/<name>), the OpenAPI
// document, the command line, the client, the permission, the metric and the audit line.
//
// Requests are flat structs. Each field is a JSON field; tags say how the command line offers it:
//
//	type LogsIn struct {
//		Service string        `json:"service,omitempty" arg:"SERVICE,optional" help:"only this service"`
//		Follow  bool          `json:"follow,omitempty" flag:"follow,f" help:"go on as lines arrive"`
//		Since   core.Duration `json:"since,omitempty" flag:"since" help:"only lines younger than this"`
//	}
//
// arg makes a field positional, in the order of the fields; ",optional" lets it be
// absent and ",rest" (for a []string) takes all that follow. flag names a flag and,
// after a comma, its one-letter form. A field with neither is for programs only.
// Field types are string, bool, int, int64, uint64, float64, []string, core.Duration,
// core.Ref, and for programs any struct, list or map.
package op

import "context"

// An Effect says what an operation does to the world; permissions and prompts follow from it.
type Effect string

const (
	Read    Effect = "read"    // changes nothing
	Write   Effect = "write"   // changes something that can be changed back
	Destroy Effect = "destroy" // loses something: the command line asks, or wants --yes
)

// Op is one operation with request type In and answer type Out.
type Op[In, Out any] struct {
	Name    string // "logs", "service.restart": dots separate the words of the command line
	Help    string // one sentence, imperative, without a full stop
	Example string // a command line that works on examples/shop
	Effect  Effect // "" means Read
	Local   bool   // works on the caller's files, without a platform
}

// None is the request or answer of an operation that has none.
type None struct{}

// A Caller is who asks: the door fills it in from what it can prove.
type Caller struct {
	Name string // for the audit line: a user name, or "dashboard"
	UID  int    // of the peer on a Unix socket; -1 if there is none
	Via  string // "cli", "http", "dashboard", "dev"
}

type callerKey struct{}

// WithCaller gives a context that knows who asks.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf gives who asks, or a Caller without a name and UID -1.
func CallerOf(ctx context.Context) Caller {
	if c, ok := ctx.Value(callerKey{}).(Caller); ok {
		return c
	}
	return Caller{UID: -1}
}
