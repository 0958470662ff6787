package rate

import (
	"iter"
	"strconv"
	"time"
)

// Names of the fields. The first two are of draft-ietf-httpapi-ratelimit-headers-10; the
// fields RateLimit-Limit, -Remaining and -Reset of its earlier versions are gone from it.
const (
	PolicyField    = "RateLimit-Policy"
	RateLimitField = "RateLimit"
	RetryField     = "Retry-After" // RFC 9110, section 10.2.3

	LegacyLimitField     = "X-RateLimit-Limit"
	LegacyRemainingField = "X-RateLimit-Remaining"
	LegacyResetField     = "X-RateLimit-Reset" // seconds from now, as in the drafts; some services give a Unix time
)

// Policy gives the value of RateLimit-Policy: the declared rate, as `"default";q=50;w=1`.
func (l *Limit) Policy() string { return l.policy }

// AppendRateLimit appends the value of RateLimit to b, as `"default";r=49;t=1`: what is left
// at this moment, and the seconds until the whole burst is, rounded up.
func (v Verdict) AppendRateLimit(b []byte) []byte {
	b = append(b, `"default";r=`...)
	b = strconv.AppendInt(b, v.Remaining, 10)
	b = append(b, ";t="...)
	return strconv.AppendInt(b, seconds(v.Reset), 10)
}

// RetryAfter gives the value of Retry-After: the seconds until this request would pass,
// rounded up, so at least 1 for a refused one and 0 for one that passed.
func (v Verdict) RetryAfter() int64 { return seconds(v.Retry) }

func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// AppendFields appends to b the lines, each with its CRLF, that an answer to v's request
// bears. It allocates nothing but what b needs: at most 200 bytes.
func (l *Limit) AppendFields(b []byte, v Verdict) []byte {
	b = append(b, PolicyField+": "...)
	b = append(b, l.policy...)
	b = append(b, "\r\n"+RateLimitField+": "...)
	b = v.AppendRateLimit(b)
	if l.legacy {
		b = append(b, "\r\n"+LegacyLimitField+": "...)
		b = strconv.AppendInt(b, l.burst, 10)
		b = append(b, "\r\n"+LegacyRemainingField+": "...)
		b = strconv.AppendInt(b, v.Remaining, 10)
		b = append(b, "\r\n"+LegacyResetField+": "...)
		b = strconv.AppendInt(b, seconds(v.Reset), 10)
	}
	if !v.OK {
		b = append(b, "\r\n"+RetryField+": "...)
		b = strconv.AppendInt(b, v.RetryAfter(), 10)
	}
	return append(b, "\r\n"...)
}

// Fields gives the same as names, spelled as their drafts do on every answer, and values. In a header of net/http they are found
// by that spelling alone.
func (l *Limit) Fields(v Verdict) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		number := func(n int64) string { return strconv.FormatInt(n, 10) }
		_ = yield(PolicyField, l.policy) &&
			yield(RateLimitField, string(v.AppendRateLimit(nil))) &&
			(!l.legacy || yield(LegacyLimitField, number(l.burst)) &&
				yield(LegacyRemainingField, number(v.Remaining)) &&
				yield(LegacyResetField, number(seconds(v.Reset)))) &&
			(v.OK || yield(RetryField, number(v.RetryAfter())))
	}
}
