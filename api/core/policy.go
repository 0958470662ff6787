package core

// Policy is how calls are carried: those of one use, or those that come by one path of the
// gateway. What is not declared is as the System's defaults say, and else as each field
// says. A field that is declared takes the place of the default's whole.
type Policy struct {
	// Timeout is the time for a call with all its attempts and waits, to the last byte of the
	// answer; at most 24h. It is passed on with the call and only ever gets shorter: a caller
	// that has 200ms left gives 200ms. Streams (server-sent events, WebSocket, gRPC streams)
	// have idle instead.
	Timeout Duration `json:"timeout,omitempty" example:"300ms" default:"15s"`
	// Idle is how long a stream may be without traffic in both ways; at most 24h.
	Idle Duration `json:"idle,omitempty" example:"5m" default:"5m"`
	// Retry is which calls are made again, on another endpoint if there is one. Undeclared: once,
	// if the call did no harm: it never arrived, its method is safe or idempotent, or it bears an Idempotency-Key. A
	// path that is exposed repeats undeclared only what had no answer (connect, reset): an answer may be one that the service
	// passes on, of a call that was repeated already.
	Retry *Retry `json:"retry,omitempty" example:"{attempts: 3}"`
	// Fallback is what is answered where the failure would be, for safe methods only. Undeclared: the failure.
	Fallback *Fallback `json:"fallback,omitempty" example:"{cached: 5m}"`
	// Cache keeps answers and gives them again as they allow it (RFC 9111). Undeclared: nothing is kept.
	Cache *Cache `json:"cache,omitempty" example:"true"`
	// Coalesce lets concurrent GETs for one thing share one call, each joining for at most this
	// time; at most 1m. 0s: never, as undeclared.
	Coalesce *Duration `json:"coalesce,omitempty" example:"100ms"`
	// Priority says who goes last when there is more than can be served: critical (what the
	// business is for), normal, low (what nobody would miss at once), bulk (what nobody waits
	// for). A request that came through the gateway keeps the one of its path from call to call.
	Priority string `json:"priority,omitempty" enum:"critical,normal,low,bulk" example:"critical" default:"normal"`
}

// Retry says which calls are made again.
type Retry struct {
	// Attempts is how many a call may have, the first included, 1 to 5; 1: none is repeated.
	// More than 2 multiply from hop to hop, so think of the whole way.
	Attempts int `json:"attempts,omitempty" example:"3" default:"2"`
	// PerTry is the time for one attempt. Undeclared: what is left of the timeout. All attempts
	// must fit into the timeout; below the slowest good answers it turns slowness into load.
	PerTry Duration `json:"perTry,omitempty" example:"100ms" zero:"no"`
	// On are the failures after which it is repeated, of connect, reset, timeout, 502, 503, 504,
	// 429, unavailable and resource-exhausted (the last two of gRPC). Undeclared: all of them.
	On []string `json:"on,omitempty" example:"[connect, reset, 503]"`
	// Unsafe says that the service bears the repeat of any request, also of a POST without
	// Idempotency-Key on which it may have acted.
	Unsafe bool `json:"unsafe,omitempty" example:"true"`
	// Backoff is the wait before a repeat.
	Backoff *Backoff `json:"backoff,omitempty" example:"{base: 50ms}"`
	// Hedge sends a second request, of a safe method, when the first has had no answer for so
	// long: a time from 1ms to 1m, or p95, the time in which 95 of 100 are answered. Undeclared: never.
	Hedge string `json:"hedge,omitempty" example:"p95"`
}

// Backoff is a random time up to a bound that doubles.
type Backoff struct {
	// Base bounds the first wait, 1ms to 30s.
	Base Duration `json:"base,omitempty" example:"50ms" default:"25ms"`
	// Cap bounds all of them, base to 30s.
	Cap Duration `json:"cap,omitempty" example:"1s" default:"250ms"`
}

// Fallback is what is answered where a failure would be: of what is declared the first
// that there is, in the order of the fields. The answer says so: Stoa-Fallback: cached; age=37.
type Fallback struct {
	// Cached is the last good answer to the same request, no older than this; at most 24h.
	Cached Duration `json:"cached,omitempty" example:"5m"`
	// Static is an answer that is written here.
	Static *Answer `json:"static,omitempty" example:"{contentType: application/json, body: \"[]\"}"`
	// Service is another service, which is asked once. A use names one of its other uses; a
	// path of the gateway any that speaks HTTP.
	Service string `json:"service,omitempty" example:"catalog-replica"`
	// Off takes the fallback of the System's defaults away.
	Off bool `json:"off,omitempty" example:"true"`
}

// Answer is a whole answer, written down.
type Answer struct {
	// Status is 200 to 599.
	Status int `json:"status,omitempty" example:"200" default:"200"`
	// ContentType is the type of the body.
	ContentType string `json:"contentType,omitempty" example:"application/json" default:"text/plain; charset=utf-8"`
	// Body is the answer's text.
	Body string `json:"body,omitempty" example:"\"[]\""`
}

// Cache is how answers are kept, as they allow it (RFC 9111): for as long as their
// Cache-Control says, and not at all where they say nothing. The fields add what answers
// leave open.
type Cache struct {
	// On says whether answers are kept; false takes the cache of the System's defaults away.
	On *bool `json:"on,omitempty" example:"true" default:"true"`
	// StaleIfError is how long after its time an answer is still given if the service fails; at most 7d.
	StaleIfError Duration `json:"staleIfError,omitempty" example:"10m"`
	// StaleWhileRevalidate is how long after its time an answer is still given while a new one is fetched; at most 7d.
	StaleWhileRevalidate Duration `json:"staleWhileRevalidate,omitempty" example:"30s"`
	// MaxAge bounds how long an answer is fresh, whatever it says.
	MaxAge Duration `json:"maxAge,omitempty" example:"1m"`
	// IgnoreReload gives kept answers also to who asks for new ones (no-cache), so that no
	// outsider can make the service work.
	IgnoreReload bool `json:"ignoreReload,omitempty" example:"true"`
}

// Shorthand lets cache: true be written.
func (Cache) Shorthand() string { return "on" }

// EdgePolicy is how calls from outside are carried.
type EdgePolicy struct {
	Policy
	// RateLimit refuses with 429 what is over a rate. A list holds several, which must all allow a request.
	RateLimit *RateLimit `json:"rateLimit,omitempty" example:"{rate: 50/s, per: client}"`
	// Cohort says whose requests go together when some must be refused for overload, so that one
	// user is served whole or not at all: client (the address), header:NAME or cookie:NAME.
	Cohort string `json:"cohort,omitempty" example:"cookie:session" default:"client"`
	// CORS lets pages of other origins use the answers, and answers their preflights.
	CORS *CORS `json:"cors,omitempty" example:"{origins: [\"https://shop.example\"]}"`
	// Security adds security fields to answers that have none of their own; true adds those of basic.
	Security *Security `json:"security,omitempty" example:"true"`
}

// RateLimit is one quota, or several that must all allow a request.
type RateLimit struct {
	Quota
	// All are several; a list is short for it. [] takes the limits of the System's defaults away.
	All []Quota `json:"all,omitempty" example:"[{rate: 10/s, per: client}, {rate: 1000/s}]"`
}

// Shorthand lets a list be written.
func (RateLimit) Shorthand() string { return "all" }

// Quotas gives all that must allow a request.
func (r *RateLimit) Quotas() []Quota {
	switch {
	case r == nil:
		return nil
	case r.Quota != Quota{}:
		return append([]Quota{r.Quota}, r.All...)
	}
	return r.All
}

// Quota is a rate, and who has one of their own.
type Quota struct {
	// Rate is what may pass in the long run: requests per s, m, h or d.
	Rate string `json:"rate,omitempty" example:"50/s"`
	// Burst is what may pass at one moment after a rest. Undeclared: the number of rate.
	Burst int `json:"burst,omitempty" example:"100" zero:"no"`
	// Per says who has a quota of their own: client (each address), header:NAME or cookie:NAME (each
	// value; something before must refuse unknown ones, as a caller can invent them). Undeclared: all share one.
	Per string `json:"per,omitempty" example:"client"`
	// Legacy adds X-RateLimit-Limit, -Remaining and -Reset to the answers, for clients that know no RateLimit.
	Legacy bool `json:"legacy,omitempty" example:"true"`
}

// CORS is which pages of other origins may use the answers.
type CORS struct {
	// Origins are those of the pages: https://shop.example, https://*.shop.example, or "*" alone for any.
	Origins []string `json:"origins,omitempty" example:"[\"https://shop.example\"]"`
	// Methods may be used besides GET, HEAD and POST.
	Methods []string `json:"methods,omitempty" example:"[PUT, DELETE]"`
	// Headers may be sent by a page.
	Headers []string `json:"headers,omitempty" example:"[Content-Type, Idempotency-Key]"`
	// Expose are the headers of answers that a page may read.
	Expose []string `json:"expose,omitempty" example:"[ETag]"`
	// Credentials lets pages send cookies; not with the origin "*".
	Credentials bool `json:"credentials,omitempty" example:"true"`
	// MaxAge is how long a browser may remember what it was told.
	MaxAge Duration `json:"maxAge,omitempty" example:"1h" default:"10m"`
	// Off takes the rules of the System's defaults away.
	Off bool `json:"off,omitempty" example:"true"`
}

// Security are fields of answers that tell browsers to be careful.
type Security struct {
	// Basic sets noSniff, frames: SAMEORIGIN and referrer: strict-origin-when-cross-origin, where
	// they are not set here. false takes the fields of the System's defaults away.
	Basic bool `json:"basic,omitempty" example:"true"`
	// HSTS is how long browsers shall come by TLS only (Strict-Transport-Security). It is sent over TLS only.
	HSTS Duration `json:"hsts,omitempty" example:"365d"`
	// ContentPolicy is the Content-Security-Policy.
	ContentPolicy string `json:"contentPolicy,omitempty" example:"default-src 'self'"`
	// Frames says who may show the page in a frame (X-Frame-Options).
	Frames string `json:"frames,omitempty" enum:"DENY,SAMEORIGIN" example:"DENY"`
	// Referrer is the Referrer-Policy.
	Referrer string `json:"referrer,omitempty" example:"no-referrer"`
	// NoSniff keeps browsers from guessing types (X-Content-Type-Options).
	NoSniff bool `json:"noSniff,omitempty" example:"true"`
	// Permissions is the Permissions-Policy.
	Permissions string `json:"permissions,omitempty" example:"camera=(), microphone=()"`
}

// Shorthand lets security: true be written.
func (Security) Shorthand() string { return "basic" }

// Over gives p on top of d: each field of p that is declared, else that of d.
func (p Policy) Over(d Policy) Policy {
	if p.Timeout == 0 {
		p.Timeout = d.Timeout
	}
	if p.Idle == 0 {
		p.Idle = d.Idle
	}
	if p.Retry == nil {
		p.Retry = d.Retry
	}
	if p.Fallback == nil {
		p.Fallback = d.Fallback
	}
	if p.Cache == nil {
		p.Cache = d.Cache
	}
	if p.Coalesce == nil {
		p.Coalesce = d.Coalesce
	}
	if p.Priority == "" {
		p.Priority = d.Priority
	}
	return p
}

// Over gives p on top of d: each field of p that is declared, else that of d.
func (p EdgePolicy) Over(d EdgePolicy) EdgePolicy {
	p.Policy = p.Policy.Over(d.Policy)
	if p.RateLimit == nil {
		p.RateLimit = d.RateLimit
	}
	if p.Cohort == "" {
		p.Cohort = d.Cohort
	}
	if p.CORS == nil {
		p.CORS = d.CORS
	}
	if p.Security == nil {
		p.Security = d.Security
	}
	return p
}
