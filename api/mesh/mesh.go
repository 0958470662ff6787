// Package mesh is the twin of the module that lets services call each other: what a
// Service says about whom it uses, and the picture that follows.
package mesh

import (
	"stoa/api/core"
	"stoa/api/op"
)

// Use declares that a service calls another. From it follow the address that the
// service is given, discovery and balancing, and the permission to call: what is not
// declared has no address to go to.
type Use struct {
	// Service is the one that is called.
	Service string `json:"service" required:"true" example:"inventory"`
	// Listener names the port that is called; undeclared: the first.
	Listener string `json:"listener,omitempty" example:"grpc"`
	// Operations are those of the contract that are called, by operationId; they document the use.
	Operations []string `json:"operations,omitempty" example:"[reserveStock, releaseStock]"`
	// As gives the address under names of the caller's own: a variable, and what it holds:
	// url (http://127.0.0.1:41234), addr (127.0.0.1:41234), host or port.
	As map[string]string `json:"as,omitempty" example:"{PRODUCT_CATALOG_SERVICE_ADDR: addr}"`
	// Relaxed passes paths on that have more than one reading, byte for byte: with an empty segment (//), a dot
	// segment, a needless escape (%41), a broken one, a backslash, or a byte that is a control or of 0x80 and above. Undeclared, they are refused, as at the
	// gateway: a caller that builds paths of what it was told else reaches what it did not mean.
	Relaxed bool `json:"relaxed,omitempty"`
	core.Policy
}

// UsesSection is the list of whom a service calls.
var UsesSection = core.Section[[]Use]{Kind: core.KindService, Name: "uses", Help: "the services it calls; nothing undeclared can be called"}

// Listener gives the logical name of the listener on which caller reaches upstream
// (a service, or service/port).
func Listener(caller, upstream string) string { return caller + ">" + upstream }

// GraphIn asks for the architecture of the blueprint in a folder.
type GraphIn struct {
	Dir    string `json:"dir,omitempty" arg:"DIR,optional" help:"folder of the blueprint (default: this one)"`
	Env    string `json:"env,omitempty" flag:"env" help:"environment (default: dev)"`
	Format string `json:"format,omitempty" flag:"format" help:"text or mermaid (default: text); --json for JSON"`
}

// Node is a service on the map.
type Node struct {
	Name    string   `json:"name"`
	Context string   `json:"context,omitempty"`
	Form    string   `json:"form"`              // go, command, external, static
	Exposed []string `json:"exposed,omitempty"` // paths at the gateway that lead to it
	Also    []string `json:"also,omitempty"`    // paths that other services expose and that lead to it in part, or that it exposes and that lead elsewhere, each with how
	Stores  []string `json:"stores,omitempty"`  // "db sqlite"
}

// Edge is a declared call.
type Edge struct {
	From     string `json:"from"` // service, or "gateway"
	To       string `json:"to"`
	Protocol string `json:"protocol"` // http, h2c, tcp
}

// Graph is the declared architecture.
type Graph struct {
	System   string   `json:"system"`
	Contexts []string `json:"contexts,omitempty"`
	Nodes    []Node   `json:"nodes"`
	Edges    []Edge   `json:"edges"`
	Format   string   `json:"-"` // as it was asked for
}

// The operations. Map is the graph of what is applied; Graph of what is written.
var (
	GraphOp = op.Op[GraphIn, Graph]{Name: "graph", Help: "draw the architecture that a blueprint declares", Example: "stoa graph examples/shop --format mermaid", Local: true}
	MapOp   = op.Op[op.None, Graph]{Name: "map", Help: "draw the architecture that is applied", Example: "stoa map"}
)
