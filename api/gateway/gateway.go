// Package gateway is the twin of the module through which the outside reaches services.
package gateway

import "stoa/api/core"

// Expose is one path of the gateway that leads to a service.
type Expose struct {
	// Path is what is reached: /orders is /orders and all below it, / is everything that
	// no other path takes, /orders/{id} a template in which {id} is one segment.
	Path string `json:"path" required:"true" example:"/orders"`
	// Exact limits it to that one path, without what lies below.
	Exact bool `json:"exact,omitempty"`
	// Host limits it to one host name; undeclared: any.
	Host string `json:"host,omitempty" example:"shop.example.com"`
	// Methods limits it to some methods; undeclared: all.
	Methods []string `json:"methods,omitempty" example:"[GET, POST]"`
	// StripPrefix takes path off before the request is passed on: /orders/7 arrives as /7.
	StripPrefix bool `json:"stripPrefix,omitempty"`
	// Relaxed passes paths on that have more than one reading, byte for byte: with an empty
	// segment (//), a dot segment, a needless escape (%41) or a byte that should be escaped.
	// Undeclared, they are refused, since the service might read them as another path than the
	// gateway did. Set it where the service takes such paths, and no other rule guards a part of them.
	Relaxed bool `json:"relaxed,omitempty"`
	// Listener names the port of the service; undeclared: the first.
	Listener string `json:"listener,omitempty" example:"admin"`
}

// Gateway is where the outside arrives.
type Gateway struct {
	// Listen is the address, host:port.
	Listen string `json:"listen,omitempty" example:"127.0.0.1:8080"`
}

// DefaultListen is where the gateway listens unless told otherwise.
const DefaultListen = "127.0.0.1:8080"

// The sections.
var (
	ExposeSection  = core.Section[[]Expose]{Kind: core.KindService, Name: "expose", Help: "the paths of the gateway that lead to it"}
	GatewaySection = core.Section[Gateway]{Kind: core.KindSystem, Name: "gateway", Help: "where the outside arrives", Default: func() Gateway { return Gateway{Listen: DefaultListen} }}
)

// ListenerName is the logical name of the gateway's listener.
const ListenerName = "gateway"
