package h1

import "encoding/binary"

// ID is a field name that a proxy has to know. The others are Other.
type ID uint8

// The known names, each the field that it spells in the RFC's way.
const (
	Other ID = iota

	// Of one connection: Hop is always set.
	Connection
	KeepAlive
	ProxyConnection
	ProxyAuthenticate
	ProxyAuthorization
	ProxyAuthenticationInfo
	TE
	TransferEncoding
	Upgrade
	HTTP2Settings

	Host
	ContentLength
	ContentType
	ContentEncoding
	ContentRange
	Trailer
	Expect
	Date
	Server
	Via
	UserAgent
	Accept
	AcceptEncoding
	Authorization
	WWWAuthenticate
	Cookie
	SetCookie
	Location
	Origin
	RetryAfter
	XRequestID

	CacheControl
	Pragma
	Age
	Expires
	ETag
	LastModified
	Vary
	IfMatch
	IfNoneMatch
	IfModifiedSince
	IfUnmodifiedSince
	IfRange
	Range

	AccessControlRequestMethod
	AccessControlRequestHeaders
	AccessControlAllowOrigin
	StrictTransportSecurity
	ContentSecurityPolicy
	XContentTypeOptions
	XFrameOptions
	ReferrerPolicy

	Traceparent
	Tracestate
	IdempotencyKey
	XIdempotencyKey
	GRPCStatus
	GRPCMessage
	GRPCTimeout
	GRPCRetryPushback // grpc-retry-pushback-ms
	RateLimit
	RateLimitPolicy

	// Identity says who calls or from where: Forwarded, X-Forwarded, X-Forwarded-*,
	// X-Envoy-* and X-Real-IP, in any case and also with _ for -.
	Identity
	// StoaField is Stoa-*, in any case and also with _ for -.
	StoaField

	numIDs
)

// The traits of names.
const (
	hop       = 1 << iota // of one connection
	forAll                // Connection must not name it
	noTrailer             // must not stand in a trailer section: RFC 9110, section 6.5.1
)

var names = [numIDs]struct {
	spelling string // lower case; "" for families
	traits   uint8
}{
	Connection:              {"connection", hop | noTrailer},
	KeepAlive:               {"keep-alive", hop | noTrailer},
	ProxyConnection:         {"proxy-connection", hop | noTrailer},
	ProxyAuthenticate:       {"proxy-authenticate", hop | noTrailer},
	ProxyAuthorization:      {"proxy-authorization", hop | noTrailer},
	ProxyAuthenticationInfo: {"proxy-authentication-info", hop | noTrailer},
	TE:                      {"te", hop | noTrailer},
	TransferEncoding:        {"transfer-encoding", hop | noTrailer},
	Upgrade:                 {"upgrade", hop | noTrailer},
	HTTP2Settings:           {"http2-settings", hop | noTrailer},

	Host:            {"host", forAll | noTrailer},
	ContentLength:   {"content-length", forAll | noTrailer},
	ContentType:     {"content-type", forAll | noTrailer},
	ContentEncoding: {"content-encoding", forAll | noTrailer},
	ContentRange:    {"content-range", forAll | noTrailer},
	Trailer:         {"trailer", noTrailer},
	Expect:          {"expect", noTrailer},
	Date:            {"date", noTrailer},
	Server:          {"server", 0},
	Via:             {"via", 0},
	UserAgent:       {"user-agent", 0},
	Accept:          {"accept", 0},
	AcceptEncoding:  {"accept-encoding", 0},
	Authorization:   {"authorization", forAll | noTrailer},
	WWWAuthenticate: {"www-authenticate", forAll | noTrailer},
	Cookie:          {"cookie", forAll | noTrailer},
	SetCookie:       {"set-cookie", forAll | noTrailer},
	Location:        {"location", forAll | noTrailer},
	Origin:          {"origin", forAll | noTrailer},
	RetryAfter:      {"retry-after", noTrailer},
	XRequestID:      {"x-request-id", 0},

	CacheControl:      {"cache-control", forAll | noTrailer},
	Pragma:            {"pragma", noTrailer},
	Age:               {"age", noTrailer},
	Expires:           {"expires", forAll | noTrailer},
	ETag:              {"etag", 0},
	LastModified:      {"last-modified", 0},
	Vary:              {"vary", forAll | noTrailer},
	IfMatch:           {"if-match", forAll | noTrailer},
	IfNoneMatch:       {"if-none-match", forAll | noTrailer},
	IfModifiedSince:   {"if-modified-since", forAll | noTrailer},
	IfUnmodifiedSince: {"if-unmodified-since", forAll | noTrailer},
	IfRange:           {"if-range", forAll | noTrailer},
	Range:             {"range", forAll | noTrailer},

	AccessControlRequestMethod:  {"access-control-request-method", noTrailer},
	AccessControlRequestHeaders: {"access-control-request-headers", noTrailer},
	AccessControlAllowOrigin:    {"access-control-allow-origin", noTrailer},
	StrictTransportSecurity:     {"strict-transport-security", noTrailer},
	ContentSecurityPolicy:       {"content-security-policy", noTrailer},
	XContentTypeOptions:         {"x-content-type-options", noTrailer},
	XFrameOptions:               {"x-frame-options", noTrailer},
	ReferrerPolicy:              {"referrer-policy", noTrailer},

	Traceparent:       {"traceparent", forAll | noTrailer},
	Tracestate:        {"tracestate", forAll | noTrailer},
	IdempotencyKey:    {"idempotency-key", forAll | noTrailer},
	XIdempotencyKey:   {"x-idempotency-key", forAll | noTrailer},
	GRPCStatus:        {"grpc-status", forAll},
	GRPCMessage:       {"grpc-message", forAll},
	GRPCTimeout:       {"grpc-timeout", forAll | noTrailer},
	GRPCRetryPushback: {"grpc-retry-pushback-ms", 0},
	RateLimit:         {"ratelimit", 0},
	RateLimitPolicy:   {"ratelimit-policy", 0},

	Identity:  {"", forAll | noTrailer},
	StoaField: {"", forAll | noTrailer},
}

// String is the name in lower case, or what the ID stands for.
func (id ID) String() string {
	switch id {
	case Other:
		return "other"
	case Identity:
		return "identity"
	case StoaField:
		return "stoa-*"
	}
	if id < numIDs {
		return names[id].spelling
	}
	return "unknown"
}

func (id ID) has(traits uint8) bool { return names[id].traits&traits != 0 }

// ofHop is has(hop), which the order of the IDs tells.
func (id ID) ofHop() bool { return id-Connection <= HTTP2Settings-Connection }

// key is what a name is found by: its first and last eight bytes, folded, and its
// length. The middle of what is longer than sixteen is compared after. last is 0 for
// names below eight bytes.
type key struct {
	first, last uint64
	len         int
	id          ID
}

// keyBits sizes the table of keys: four slots for each name, so that most that are not
// known meet an empty one at once.
const keyBits = 8

var keys = func() (t [1 << keyBits]key) {
	for id, n := range names {
		if n.spelling == "" {
			continue
		}
		b := []byte(n.spelling)
		k := key{first: fewBytes(b[:min(8, len(b))]), len: len(b), id: ID(id)}
		if len(b) >= 8 {
			k.last = fewBytes(b[len(b)-8:])
		}
		h := slot(k.first, k.last, len(b))
		for t[h].len != 0 {
			h++
		}
		t[h] = k
	}
	return t
}()

// slot is where the search for a name begins.
func slot(first, last uint64, n int) uint8 {
	return uint8((first ^ last<<1 ^ uint64(n)) * 0x9e3779b97f4a7c15 >> (64 - keyBits))
}

// folded is the bit that lower-cases a letter, eight times. Of two token bytes that
// differ it makes the same only where they are one letter in two cases, or ^ and ~,
// which no known name holds; _ becomes 0x7f.
const folded = 0x2020202020202020

// fewBytes reads b, of at most eight bytes, as a key does.
func fewBytes(b []byte) (x uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		x = x<<8 | uint64(b[i]|0x20)
	}
	return x
}

// identify gives the ID of the name b[i:j], which is a token.
func identify(b []byte, i, j int) ID {
	var first, last uint64
	n := j - i
	switch {
	case n >= 8:
		first = binary.LittleEndian.Uint64(b[i:]) | folded
		last = binary.LittleEndian.Uint64(b[j-8:]) | folded
	case i+8 <= len(b):
		first = (binary.LittleEndian.Uint64(b[i:]) | folded) & (1<<(8*uint(n)) - 1)
	default:
		first = fewBytes(b[i:j])
	}
	for h := slot(first, last, n); ; h++ {
		e := &keys[h]
		if e.first == first && e.last == last && e.len == n && (n <= 16 || same(b[i:j], names[e.id].spelling)) {
			return e.id
		}
		if e.len == 0 {
			break
		}
	}
	switch uint16(first) {
	case 'x' | '-'<<8, 'x' | 0x7f<<8, 'f' | 'o'<<8, 's' | 't'<<8:
		return family(b[i:j])
	}
	return Other
}

// family gives the ID of a name that is known by its beginning, or with _ for -.
func family(name []byte) ID {
	switch {
	case begins(name, "x-forwarded"):
		if len(name) == len("x-forwarded") || dash(name[len("x-forwarded")]) == '-' {
			return Identity
		}
	case begins(name, "x-envoy-"):
		return Identity
	case len(name) == len("x-real-ip") && begins(name, "x-real-ip"):
		return Identity
	case len(name) == len("forwarded") && begins(name, "forwarded"):
		return Identity
	case begins(name, "stoa-"):
		return StoaField
	}
	return Other
}

// misspelt says whether a name that is not known would frame a body if _ were -.
func misspelt(name []byte) bool {
	return len(name) == len("content-length") && begins(name, "content-length") ||
		len(name) == len("transfer-encoding") && begins(name, "transfer-encoding")
}

// begins says whether name begins with s, in any case and with _ for -.
func begins(name []byte, s string) bool {
	if len(name) < len(s) {
		return false
	}
	for i := range len(s) {
		if dash(lower(name[i])) != s[i] {
			return false
		}
	}
	return true
}

func dash(c byte) byte {
	if c == '_' {
		return '-'
	}
	return c
}
