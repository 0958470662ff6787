// Package gateway is the twin of the module through which the outside reaches services.
package gateway

import "stoa/api/core"

// Expose is one path of the gateway that leads to a service. Of several that fit a request the
// most specific wins: by host, then path, then method, then conditions.
type Expose struct {
	// Path is what is reached: /orders is /orders and all below it, / is everything that
	// no other path takes, /orders/{id} a template in which {id} is one segment.
	Path string `json:"path" required:"true" example:"/orders"`
	// Exact limits it to that one path, without what lies below.
	Exact bool `json:"exact,omitempty"`
	// Host limits it to one host name, or to all below one (*.example.com); undeclared: any.
	Host string `json:"host,omitempty" example:"shop.example.com"`
	// Methods limits it to some methods; undeclared: all.
	Methods []string `json:"methods,omitempty" example:"[GET, POST]"`
	// Headers limits it to requests whose headers are so; all must hold.
	Headers []Condition `json:"headers,omitempty" example:"[{name: X-Beta, value: \"1\"}]"`
	// Query limits it to requests whose query parameters are so; all must hold.
	Query []Condition `json:"query,omitempty" example:"[{name: preview, present: true}]"`
	// StripPrefix takes path off before the request is passed on: /orders/7 arrives as /7.
	StripPrefix bool `json:"stripPrefix,omitempty"`
	// Rewrite puts this in the place of path, or of the whole path for exact ones and templates, whose {name} may be used in it.
	Rewrite string `json:"rewrite,omitempty" example:"/v2/orders"`
	// Relaxed passes paths on that have more than one reading, byte for byte: with an empty
	// segment (//), a dot segment, a needless escape (%41), a broken one, a backslash, or a byte that is a control or of 0x80 and
	// above. Undeclared, they are refused, since the service might read them as another path than the
	// gateway did. Set it where the service takes such paths, and no other rule guards a part of them.
	Relaxed bool `json:"relaxed,omitempty"`
	// Listener names the port of the service; undeclared: the first.
	Listener string `json:"listener,omitempty" example:"admin"`
	// Redirect answers with another place instead of leading to the service.
	Redirect *Redirect `json:"redirect,omitempty" example:"https://shop.example.com"`
	// RequestHeaders changes headers on the way to the service.
	RequestHeaders *Edits `json:"requestHeaders,omitempty" example:"{set: {X-From: gateway}}"`
	// AnswerHeaders changes headers on the way back.
	AnswerHeaders *Edits `json:"answerHeaders,omitempty" example:"{remove: [Server]}"`
	// Split leads to several services by weight instead of to this one alone: name it too. A
	// request stays on its side when it is repeated, and a user does with sticky.
	Split []Side `json:"split,omitempty" example:"[{service: orders, weight: 95}, {service: orders-next, weight: 5}]"`
	// Mirror sends a copy of some requests to another service too; its answers are thrown away.
	Mirror *Mirror `json:"mirror,omitempty" example:"{service: orders-next, percent: 1}"`
	// Sticky keeps requests with one key at one side of a split, and at one instance.
	Sticky *Sticky `json:"sticky,omitempty" example:"{issue: shop_instance}"`
	core.EdgePolicy
}

// Condition is a condition on one header or query parameter. Exactly one of the others is
// set beside name.
type Condition struct {
	// Name is that of the header, in any case, or of the parameter.
	Name string `json:"name" required:"true" example:"X-Beta"`
	// Value is the whole value, in its case.
	Value string `json:"value,omitempty" example:"\"1\""`
	// Prefix is how it begins.
	Prefix string `json:"prefix,omitempty" example:"beta-"`
	// Regex is a regular expression (RE2) of the whole value.
	Regex string `json:"regex,omitempty" example:"[0-9]+"`
	// Present wants that there is one, whatever it says.
	Present bool `json:"present,omitempty" example:"true"`
	// Absent wants that there is none.
	Absent bool `json:"absent,omitempty" example:"true"`
}

// Redirect answers with another place.
type Redirect struct {
	// To is the place: https://host/path, or a part of it: https://host keeps the path, https:// the host too,
	// /path the host. The query stays. {name} of a template may be used in the path.
	To string `json:"to" required:"true" example:"https://shop.example.com/new"`
	// Code is 301, 302, 303, 307 or 308.
	Code int `json:"code,omitempty" example:"308" default:"307"`
}

// Shorthand lets redirect: https://shop.example.com be written.
func (Redirect) Shorthand() string { return "to" }

// Edits change headers: remove first, then set, then add. Headers of framing, of one
// connection, Host and those that say who calls cannot be changed.
type Edits struct {
	// Set puts one in the place of all of its name.
	Set map[string]string `json:"set,omitempty" example:"{X-From: gateway}"`
	// Add puts one beside those of its name.
	Add map[string]string `json:"add,omitempty" example:"{Vary: Accept-Language}"`
	// Remove takes all of a name away.
	Remove []string `json:"remove,omitempty" example:"[Server]"`
}

// Side is one service of a split.
type Side struct {
	// Service is where a part of the requests goes.
	Service string `json:"service" required:"true" example:"orders-next"`
	// Listener names its port; undeclared: the first.
	Listener string `json:"listener,omitempty" example:"admin"`
	// Weight is its part of the sum of all weights; 0: no request, but it is kept ready.
	Weight int `json:"weight" required:"true" example:"5"`
}

// Mirror sends copies.
type Mirror struct {
	// Service is who gets them.
	Service string `json:"service" required:"true" example:"orders-next"`
	// Listener names its port; undeclared: the first.
	Listener string `json:"listener,omitempty" example:"admin"`
	// Percent is the share of requests that are copied: above 0, at most 100.
	Percent float64 `json:"percent" required:"true" example:"1"`
	// Unsafe copies requests of all methods, not GET, HEAD and OPTIONS alone: the other service then acts on them too.
	Unsafe bool `json:"unsafe,omitempty" example:"true"`
}

// Sticky says what keeps requests together: a key of their own, or a cookie of Stoa's. Exactly
// one of cookie, header and issue is set.
type Sticky struct {
	// Cookie is the name of a cookie of the service's own. Its value says which side of a split,
	// and which instance if the service is balanced by ring or maglev.
	Cookie string `json:"cookie,omitempty" example:"session"`
	// Header is the name of a header that is used in the same way.
	Header string `json:"header,omitempty" example:"X-Tenant"`
	// Issue is the name of a cookie that the gateway gives to who has none. It holds, signed and
	// unreadable, which instance answered; whoever brings it gets to that instance again while it is
	// ready, and else to another, with a new cookie. It takes part of the choice from balancing:
	// see the series stoa_proxy_sticky_skew.
	Issue string `json:"issue,omitempty" example:"shop_instance"`
	// Lasts is how long the cookie of issue is kept, 1s to 400d. Undeclared: until the browser is closed.
	Lasts core.Duration `json:"lasts,omitempty" example:"8h"`
}

// Gateway is where the outside arrives.
type Gateway struct {
	// Listen is the address, host:port.
	Listen string `json:"listen,omitempty" example:"127.0.0.1:8080"`
	// TLS says where the certificates of that address come from. Undeclared: clear text.
	TLS *TLS `json:"tls,omitempty" example:"{cert: shop.pem, key: shop.key}"`
	// RedirectHTTP is another address, of clear text, that leads to this one over TLS; certificates by ACME may need it at port 80.
	RedirectHTTP string `json:"redirectHTTP,omitempty" example:"\":80\""`
	// Heads bounds the line and fields of a request; what has more is refused before any rule is looked for.
	Heads *Heads `json:"heads,omitempty" example:"{bytes: 32768}"`
	// NewTrace gives every request a trace of its own. Undeclared, the id that a caller outside gives with traceparent is
	// kept; whether it is recorded is decided here in any case.
	NewTrace bool `json:"newTrace,omitempty"`
}

// Heads bounds the head of a request from outside. Raise it for what sends long cookies or URLs; every
// connection may have one such head in memory.
type Heads struct {
	// Bytes is for the whole, 1024 to 1048576; more is refused with 431.
	Bytes int `json:"bytes,omitempty" example:"32768" default:"16384"`
	// Target is for path and query, 1024 to bytes; more is refused with 414.
	Target int `json:"target,omitempty" example:"16384" default:"8192"`
	// Fields is for the number of fields, 10 to 1000; more are refused with 431.
	Fields int `json:"fields,omitempty" example:"200" default:"100"`
}

// TLS is where certificates come from: files, an ACME server such as Let's Encrypt, or, to
// try things out, an authority of this machine's own. Files are relative to the file that
// names them, are read again when they change, and never leave this machine.
type TLS struct {
	// Cert is a PEM file: the certificate, then its chain.
	Cert string `json:"cert,omitempty" example:"shop.pem"`
	// Key is a PEM file: its private key, not encrypted.
	Key string `json:"key,omitempty" example:"shop.key"`
	// More are further pairs; the name that a client asks for chooses, and cert and key are for all others.
	More []Pair `json:"more,omitempty" example:"[{cert: blog.pem, key: blog.key}]"`
	// ACME has certificates issued and renewed.
	ACME *ACME `json:"acme,omitempty" example:"{email: ops@example.com, hosts: [shop.example.com], agree: true}"`
	// Dev makes certificates by an authority of this machine's own, which browsers do not know.
	Dev bool `json:"dev,omitempty" example:"true"`
}

// Pair is a certificate with its key.
type Pair struct {
	// Cert is a PEM file: the certificate, then its chain.
	Cert string `json:"cert" required:"true" example:"blog.pem"`
	// Key is a PEM file: its private key, not encrypted.
	Key string `json:"key" required:"true" example:"blog.key"`
}

// ACME says who issues certificates for which hosts (RFC 8555).
type ACME struct {
	// Hosts are those that the gateway answers for, each with a certificate of its own. No others are ever asked for.
	Hosts []string `json:"hosts" required:"true" example:"[shop.example.com]"`
	// Email is where the server may write to.
	Email string `json:"email,omitempty" example:"ops@example.com"`
	// Agree says that you agree to the server's terms of service.
	Agree bool `json:"agree,omitempty" example:"true"`
	// Directory is the server's. Undeclared: Let's Encrypt's.
	Directory string `json:"directory,omitempty" example:"https://ca.internal/acme/directory" default:"https://acme-v02.api.letsencrypt.org/directory"`
	// CA is a PEM file of roots by which a private server is known. Undeclared: the system's.
	CA string `json:"ca,omitempty" example:"roots.pem"`
	// Challenge is how the server sees that the host is yours: tls-alpn-01 (it comes to port 443)
	// or http-01 (to port 80). Undeclared: whichever works.
	Challenge string `json:"challenge,omitempty" enum:"tls-alpn-01,http-01" example:"http-01"`
	// Profile is one of the server's certificate profiles.
	Profile string `json:"profile,omitempty" example:"shortlived"`
	// AccountID names an account that the server's operator gave you, for servers that want one.
	AccountID string `json:"accountID,omitempty" example:"kid-1"`
	// AccountKey is a file with its MAC key in base64url.
	AccountKey string `json:"accountKey,omitempty" example:"acme.key"`
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
