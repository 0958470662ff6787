package deadline

import (
	"math"
	"strconv"
	"time"
)

// The fields in which the time left travels.
const (
	GRPCField  = "grpc-timeout"
	StoaField  = "Stoa-Timeout-Ms"
	EnvoyField = "X-Envoy-Expected-Rq-Timeout-Ms"
)

// maxGRPCDigits is the most digits of a grpc-timeout, by its grammar.
const maxGRPCDigits = 8

// maxMillisDigits bounds our own field and Envoy's: 10^15 ms are 31,000 years, more than
// a Duration holds, so more digits say nothing.
const maxMillisDigits = 15

// ParseGRPC reads a grpc-timeout: one to eight digits and a unit of H M S m u n (gRPC
// over HTTP/2, "Timeout"). What is too long for a Duration (292 years) is None. Zero is
// read, though the grammar wants a positive number: its caller has no time left.
func ParseGRPC(b []byte) (time.Duration, bool) {
	if len(b) < 2 {
		return 0, false
	}
	var unit time.Duration
	switch b[len(b)-1] {
	case 'H':
		unit = time.Hour
	case 'M':
		unit = time.Minute
	case 'S':
		unit = time.Second
	case 'm':
		unit = time.Millisecond
	case 'u':
		unit = time.Microsecond
	case 'n':
		unit = time.Nanosecond
	default:
		return 0, false
	}
	return parse(b[:len(b)-1], maxGRPCDigits, unit)
}

// ParseMillis reads a Stoa-Timeout-Ms: one to fifteen digits, milliseconds. Zero is
// read: its caller has no time left.
func ParseMillis(b []byte) (time.Duration, bool) { return parse(b, maxMillisDigits, time.Millisecond) }

// ParseEnvoy reads an x-envoy-expected-rq-timeout-ms: milliseconds as in ParseMillis,
// but that 0 is Envoy's word for no timeout, and so None.
func ParseEnvoy(b []byte) (time.Duration, bool) {
	d, ok := ParseMillis(b)
	if ok && d == 0 {
		d = None
	}
	return d, ok
}

// parse reads one to most digits, and nothing else, as a number of units.
func parse(b []byte, most int, unit time.Duration) (time.Duration, bool) {
	if len(b) == 0 || len(b) > most {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if n > math.MaxInt64/int64(unit) {
		return None, true
	}
	return time.Duration(n) * unit, true
}

// AppendGRPC appends d as a grpc-timeout in the largest unit that loses at most 1 % of
// it. It rounds down, so the callee never has longer than d. It appends nothing for None,
// which is said by leaving the field out, and "0n" for what is over.
func AppendGRPC(dst []byte, d time.Duration) []byte {
	switch {
	case d == None:
		return dst
	case d <= 0:
		return append(dst, "0n"...)
	}
	// The units are written out since a division by a constant costs a fraction of one by
	// a variable. At most 2,562,047 hours, 5,999 minutes or seconds, 99,999 of the next, and
	// 99,999 ns are needed: always less than nine digits.
	switch {
	case d >= time.Hour && d%time.Hour <= d/100:
		return append(strconv.AppendInt(dst, int64(d/time.Hour), 10), 'H')
	case d >= time.Minute && d%time.Minute <= d/100:
		return append(strconv.AppendInt(dst, int64(d/time.Minute), 10), 'M')
	case d >= time.Second && d%time.Second <= d/100:
		return append(strconv.AppendInt(dst, int64(d/time.Second), 10), 'S')
	case d >= time.Millisecond && d%time.Millisecond <= d/100:
		return append(strconv.AppendInt(dst, int64(d/time.Millisecond), 10), 'm')
	case d >= time.Microsecond && d%time.Microsecond <= d/100:
		return append(strconv.AppendInt(dst, int64(d/time.Microsecond), 10), 'u')
	}
	return append(strconv.AppendInt(dst, int64(d), 10), 'n')
}

// AppendMillis appends d as a Stoa-Timeout-Ms, whole milliseconds rounded down. It
// appends nothing for None, and "0" for what is over or less than a millisecond, which is
// the margin of the next hop: there is no time for a call.
func AppendMillis(dst []byte, d time.Duration) []byte {
	if d == None {
		return dst
	}
	return strconv.AppendInt(dst, int64(max(0, d)/time.Millisecond), 10)
}
