// Package cache keeps answers: those that may be used again without asking the service
// (Store, RFC 9111), and the last good ones for when it fails (LastGood).
//
//	request --Look--> Serve    the entry is the answer: Entry.Answer
//	                  Refuse   504, the caller wants a stored answer only
//	                  Bypass   forward, and do not come back
//	                  Forward  with Look.Conditions, if it has any
//	                     |
//	                     +--answer--> Take --> Pass    hand it on
//	                     |                     Answered  by an entry: a 304, or a failure that a stale one stands in for
//	                     |                     Record  hand it on; Room.Record, Finish, Store.Put
//	                     |                     Again   forward once more without conditions
//	                     +--failure-> Failed --> an entry, or none
//	unsafe request --answer--> Invalidate
//
// What decides is pure: it reads requests and answers through Fields and takes the time as
// an argument, in nanoseconds of the wall clock since 1970, because Date and Expires are
// dates. A clock that is set back makes answers younger by as much, no worse. No goroutine,
// no clock, no I/O, nothing of net/http: both HTTP engines use it.
//
// This is a shared cache. The key is host and target exactly as routed, byte for byte: the
// order of a query and the spelling of a path make a difference, and nothing a caller
// writes into another header does. Who may share an answer besides is Request.Class, and
// what the answer itself varies on is compared when it is looked for. Freshness is never
// guessed: an answer that does not say how long it holds is not stored.
//
// Stricter than the RFC, on purpose: answers with Set-Cookie are not stored; a Cookie in
// the request counts as credentials, as Authorization does; requests with a body, a range
// or a header that frameworks take for another method or path go past the cache;
// status codes are a fixed list without errors a caller could provoke (400, 431, 5xx);
// private="x" and no-cache="x" count as if they named all.
//
// Memory is bounded by bytes, all told: entries by Bounds.Total, bodies on their way to
// become entries by Room. Eviction is SIEVE (Zhang et al., NSDI 2024), not LRU: addresses
// asked for once, such as a caller's invented queries, do not drive out those in use.
//
// Limits: a node's own. An invalidation is not told to other nodes. Ranges are not
// answered from a whole. Trailers are not kept: do not Put an answer that had some.
package cache

import (
	"fmt"
	"time"
)

// Name is how this cache is called in Cache-Status.
const Name = "stoa"

// Config is what a route says about its cache. The zero value follows the answers alone.
type Config struct {
	// StaleIfError and StaleWhileRevalidate (RFC 5861) hold for answers that have no such
	// directive and none that forbids stale use. At most MaxStale; 0 means none.
	StaleIfError         time.Duration `json:"staleIfError,omitempty"`
	StaleWhileRevalidate time.Duration `json:"staleWhileRevalidate,omitempty"`
	// MaxAge bounds how long an answer is taken for fresh, whatever it says. 0 means no bound.
	MaxAge time.Duration `json:"maxAge,omitempty"`
	// IgnoreReload serves fresh entries although the caller asks for newer ones (no-cache,
	// max-age, min-fresh), so that outsiders cannot make the service work.
	IgnoreReload bool `json:"ignoreReload,omitempty"`
}

// MaxStale bounds the stale windows of a Config.
const MaxStale = 7 * 24 * time.Hour

// Check reports what is wrong, each with the path of its field.
func (c Config) Check(bad func(path, text, hint string)) {
	for _, f := range []struct {
		path string
		d    time.Duration
	}{{"staleIfError", c.StaleIfError}, {"staleWhileRevalidate", c.StaleWhileRevalidate}} {
		if f.d < 0 || f.d > MaxStale {
			bad(f.path, fmt.Sprintf("%s is not between 0 and %s", f.d, MaxStale), "Give how long a stale answer may be used, such as 5m.")
		}
	}
	if c.MaxAge < 0 {
		bad("maxAge", fmt.Sprintf("%s is below zero", c.MaxAge), "Leave it out for no bound of its own.")
	}
}

// Bounds are in bytes, with what an entry costs besides its body. The zero value is a good default.
type Bounds struct {
	Entry int64 `json:"entry,omitempty"` // of one entry; 0 means 1 MiB
	Total int64 `json:"total,omitempty"` // of all; 0 means 64 MiB, for LastGood 16 MiB
}

// The defaults of Bounds.
const (
	DefaultEntry    = 1 << 20
	DefaultTotal    = 64 << 20
	DefaultLastGood = 16 << 20
)

// Check reports what is wrong, each with the path of its field.
func (b Bounds) Check(bad func(path, text, hint string)) {
	if b.Entry < 0 {
		bad("entry", fmt.Sprintf("%d is below zero", b.Entry), "Give bytes, or leave it out for 1 MiB.")
	}
	if b.Total < 0 {
		bad("total", fmt.Sprintf("%d is below zero", b.Total), "Give bytes, or leave it out for the default.")
	}
	if e, t := orElse(b.Entry, DefaultEntry), b.Total; t > 0 && e > t {
		bad("entry", fmt.Sprintf("%d is more than the total of %d", e, t), "Give a smaller entry or a larger total.")
	}
}

func orElse(n, def int64) int64 {
	if n <= 0 {
		return def
	}
	return n
}

// Key names what is asked for. Both are compared byte for byte.
type Key struct {
	Host   string // as routed: the gateway's host in lower case, or the upstream of a mesh listener; never from X-Forwarded-Host. What a service sees besides is in the class
	Target string // path and query as they came
}

// Request is what the cache must know of a request. Its strings need not outlive the call.
type Request struct {
	Method string
	Key    Key
	Class  string // who may share an answer, by the router's judgement: route, caller; "" for all. Invalidation reaches every class
	Fields Fields // as they are forwarded, but for what is added here: at the edge without what is not believed
	Body   bool   // has one
}

// Answer is the head of an answer of the service. Its strings need not outlive the call.
type Answer struct {
	Status int
	Fields Fields
	Asked  int64 // when the request left, ns since 1970
	Came   int64 // when this head came
}

// A Why says what stood against a stored answer or against storing one. It is a value of a
// metric label and the fwd or detail of Cache-Status.
type Why uint8

// The reasons. Those up to NoEntry say why a request was forwarded.
const (
	OK       Why = iota
	Method       // only GET and HEAD are looked for
	Bypassed     // the request has a body, a range or a precondition, or is an upgrade
	Unkeyed      // the request has a header that may change the answer and is not in the key
	NoReuse      // the request says no-store
	Reload       // the request wants a newer answer than there is
	URIMiss      // nothing is known under the key
	VaryMiss     // what is known is for other callers or other values of the fields it varies on
	Stale        // what is known is no longer fresh
	NoStore      // the answer says no-store, or its Cache-Control cannot be read
	Private      // the answer is for one user
	Cookie       // the answer sets one
	Secret       // the request has credentials, and the answer does not say it is for others too
	Code         // not a status that is stored
	Unsure       // the answer does not say how long it holds
	VaryAny      // the answer varies on everything or on too much
	Degraded     // the answer is itself a fallback or an injected fault
	TooBig       // over a bound
	Outdated     // the key was invalidated since the request left
	Partial      // the body did not come whole
	Recent       // LastGood has one that is young enough
	NoBody       // the answer to a HEAD has nothing to store
)

var whys = [...]string{"ok", "method", "bypass", "unkeyed-header", "request-no-store", "request", "uri-miss", "vary-miss", "stale", "no-store", "private", "set-cookie",
	"credentials", "status", "no-freshness", "vary", "degraded", "too-big", "invalidated", "partial", "recent", "head"}

// String is the word for it, as labels have it.
func (w Why) String() string {
	if int(w) < len(whys) {
		return whys[w]
	}
	return "unknown"
}
