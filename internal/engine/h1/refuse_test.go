package h1

import (
	"errors"
	"strings"
	"testing"
)

// What two readers could understand differently, or nobody should send, is refused, with
// the rule that it breaks.
var refusedRequests = []struct {
	claim, in string
	want      rule
}{
	// Framing.
	{"length and coding", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", lengthAndCoding},
	{"coding and length", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", lengthAndCoding},
	{"length and an unknown coding", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n", lengthAndCoding},
	{"length 0 and coding", "POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 0\r\ntransfer-encoding: chunked\r\n\r\n", lengthAndCoding},
	{"two lengths that differ", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", lengthRepeated},
	{"two lengths that agree", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n", lengthRepeated},
	{"a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", badLength},
	{"a length and a comma", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,\r\n\r\n", badLength},
	{"a length with a plus", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", badLength},
	{"a length with a minus", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", badLength},
	{"a length with a leading zero", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 010\r\n\r\n", badLength},
	{"a length of two zeros", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 00\r\n\r\n", badLength},
	{"a length of 19 digits", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000000000\r\n\r\n", badLength},
	{"a length of 2^64", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n", badLength},
	{"an empty length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", badLength},
	{"a hexadecimal length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n", badLength},
	{"a length with an underscore", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\n", badLength},
	{"a length with a point", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5.0\r\n\r\n", badLength},
	{"a length with an exponent", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1e1\r\n\r\n", badLength},
	{"a quoted length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \"5\"\r\n\r\n", badLength},
	{"a length of two words", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 6\r\n\r\n", badLength},
	{"a length behind a no-break space", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \xa05\r\n\r\n", badLength},
	{"a length before a byte of 0x85", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\x85\r\n\r\n", badLength},
	{"a length in Arabic digits", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \u0665\r\n\r\n", badLength},
	{"two codings in two lines", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", codingRepeated},
	{"coding, then identity", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-encoding: identity\r\n\r\n", codingRepeated},
	{"chunked twice", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", badCoding},
	{"chunked behind a comma", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked\r\n\r\n", badCoding},
	{"chunked before a comma", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n", badCoding},
	{"xchunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", badCoding},
	{"chunkedx", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunkedx\r\n\r\n", badCoding},
	{"chunked with a parameter", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n", badCoding},
	{"quoted chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", badCoding},
	{"chunked behind a byte of 0x85", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x85chunked\r\n\r\n", badCoding},
	{"chunked with a Kelvin sign", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chun\u212aed\r\n\r\n", badCoding},
	{"chunked in brackets", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: [chunked]\r\n\r\n", badCoding},
	{"gzip, chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", badCoding},
	{"chunked, gzip", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", badCoding},
	{"identity", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", badCoding},
	{"an empty coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", badCoding},
	{"a coding in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", codingInOld},
	{"Transfer_Encoding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n", underscoreFraming},
	{"CONTENT_LENGTH", "POST / HTTP/1.1\r\nHost: a\r\nCONTENT_LENGTH: 5\r\n\r\n", underscoreFraming},

	// Lines.
	{"an empty line first", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", emptyLine},
	{"a bare LF first", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", emptyLine},
	{"LF ends the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", bareLF},
	{"LF ends a field", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", bareLF},
	{"LF ends the head", "GET / HTTP/1.1\r\nHost: a\r\n\n", bareLF},
	{"LF everywhere", "GET / HTTP/1.1\nHost: a\n\n", bareLF},
	{"LF in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\nY: b\r\n\r\n", bareLF},
	{"CR ends the request line", "GET / HTTP/1.1\rHost: a\r\n\r\n", bareCR},
	{"CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", bareCR},
	{"CR hides a field", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rTransfer-Encoding: chunked\r\n\r\n", bareCR},
	{"CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", bareCR},
	{"CR ends the head", "GET / HTTP/1.1\r\nHost: a\r\n\rX", bareCR},
	{"CR in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\r: b\r\n\r\n", noColon},
	{"NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", controlByte},
	{"NUL in a long value", "GET / HTTP/1.1\r\nHost: a\r\nX: 0123456789abcdef\x00b\r\n\r\n", controlByte},
	{"NUL in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\x00: b\r\n\r\n", controlByte},
	{"DEL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", controlByte},
	{"vertical tab before a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \vb\r\n\r\n", controlByte},
	{"form feed in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\fb\r\n\r\n", controlByte},
	{"escape in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[2J\r\n\r\n", controlByte},
	{"a folded line", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", obsFold},
	{"a line folded by a tab", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n", obsFold},
	{"a folded coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", obsFold},
	{"a fold of nothing", "GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n", obsFold},
	{"a space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", firstLineSpace},
	{"a tab before the first field", "GET / HTTP/1.1\r\n\tHost: a\r\n\r\n", firstLineSpace},
	{"a space before a colon", "GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", spaceBeforeColon},
	{"a space before the colon of a length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n", spaceBeforeColon},
	{"a tab before a colon", "GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", spaceBeforeColon},
	{"a space in a name", "GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n", spaceBeforeColon},
	{"no name", "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", emptyName},
	{"no colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", noColon},
	{"a semicolon for a colon", "GET / HTTP/1.1\r\nHost: a\r\nX; b\r\n\r\n", badName},
	{"a quoted name", "GET / HTTP/1.1\r\nHost: a\r\n\"X\": b\r\n\r\n", badName},
	{"a bracket in a name", "GET / HTTP/1.1\r\nHost: a\r\nX[0]: b\r\n\r\n", badName},
	{"a byte of 0xe4 in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\xe4: b\r\n\r\n", badName},
	{"a no-break space before a colon", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\xa0: chunked\r\n\r\n", badName},
	{"a byte-order mark before a field", "GET / HTTP/1.1\r\nHost: a\r\n\xef\xbb\xbfX: b\r\n\r\n", badName},

	// The request line.
	{"a space first", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", badMethod},
	{"two spaces before the target", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", badRequestLine},
	{"two spaces before the version", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", badRequestLine},
	{"a space behind the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", badRequestLine},
	{"a tab before the target", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", badMethod},
	{"a tab before the version", "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", badTarget},
	{"a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", badRequestLine},
	{"a request in the target", "GET / HTTP/1.1 /x HTTP/1.1\r\nHost: a\r\n\r\n", badRequestLine},
	{"no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", badRequestLine},
	{"no version", "GET /\r\nHost: a\r\n\r\n", badRequestLine},
	{"an empty version", "GET / \r\nHost: a\r\n\r\n", badRequestLine},
	{"HTTP/0.9", "GET /\r\n\r\n", badRequestLine},
	{"a method that is no token", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", badMethod},
	{"a method with a colon", "GET: / HTTP/1.1\r\nHost: a\r\n\r\n", badMethod},
	{"a NUL in the method", "G\x00T / HTTP/1.1\r\nHost: a\r\n\r\n", badMethod},
	{"the beginning of TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", badMethod},
	{"version 1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", otherVersion},
	{"version 2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", otherVersion},
	{"version 3.0", "GET / HTTP/3.0\r\nHost: a\r\n\r\n", otherVersion},
	{"version 0.9", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", otherVersion},
	{"version 2", "GET / HTTP/2\r\nHost: a\r\n\r\n", badRequestLine},
	{"version 1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", badRequestLine},
	{"version 01.1", "GET / HTTP/01.1\r\nHost: a\r\n\r\n", badVersion},
	{"version 1,1", "GET / HTTP/1,1\r\nHost: a\r\n\r\n", badVersion},
	{"version -1.1", "GET / HTTP/-1.1\r\nHost: a\r\n\r\n", badVersion},
	{"a lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n", badRequestLine},
	{"another protocol", "OPTIONS / RTSP/1.0\r\nHost: a\r\n\r\n", badRequestLine},
	{"a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", targetFragment},
	{"a fragment behind a query", "GET /a?b#c HTTP/1.1\r\nHost: a\r\n\r\n", targetFragment},
	{"a byte of 0xe4 in the path", "GET /\xe4 HTTP/1.1\r\nHost: a\r\n\r\n", badTarget},
	{"a byte of 0xe4 in the query", "GET /?\xe4 HTTP/1.1\r\nHost: a\r\n\r\n", badTarget},
	{"a NUL in the path", "GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", badTarget},
	{"a DEL in the path", "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", badTarget},
	{"a CR in the target", "GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n", bareCR},
	{"LF in the target", "GET /a\nb HTTP/1.1\r\nHost: a\r\n\r\n", bareLF},
	{"a path without slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", targetForm},
	{"a query alone", "GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", targetForm},
	{"an authority alone", "GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", targetForm},
	{"a backslash first", "GET \\a HTTP/1.1\r\nHost: a\r\n\r\n", targetForm},
	{"star with GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", targetStar},
	{"star and more", "OPTIONS *x HTTP/1.1\r\nHost: a\r\n\r\n", targetForm},
	{"star and a query", "OPTIONS *?x HTTP/1.1\r\nHost: a\r\n\r\n", targetForm},
	{"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", methodRefused},
	{"CONNECT to a path", "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", methodRefused},
	{"TRACE", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", methodRefused},
	{"PRI in HTTP/1.1", "PRI * HTTP/1.1\r\nHost: a\r\n\r\n", reservedPRI},
	{"PRI of a path", "PRI / HTTP/1.1\r\nHost: a\r\n\r\n", reservedPRI},
	{"PRI of a path in 2.0", "PRI / HTTP/2.0\r\n\r\nSM\r\n\r\n", otherVersion},

	// The authority.
	{"no Host", "GET / HTTP/1.1\r\n\r\n", hostMissing},
	{"no Host, but a field", "GET / HTTP/1.1\r\nX: a\r\n\r\n", hostMissing},
	{"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", hostRepeated},
	{"one Host twice", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", hostRepeated},
	{"two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", hostRepeated},
	{"an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", badHost},
	{"a Host with a slash", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", badHost},
	{"a Host with a user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", badHost},
	{"a Host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", badHost},
	{"a list of Hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", badHost},
	{"a Host with an escape", "GET / HTTP/1.1\r\nHost: %61\r\n\r\n", badHost},
	{"a Host in UTF-8", "GET / HTTP/1.1\r\nHost: b\u00fccher.example\r\n\r\n", badHost},
	{"a Host that is a URL", "GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", badHost},
	{"a Host with a word for a port", "GET / HTTP/1.1\r\nHost: a:http\r\n\r\n", badHost},
	{"a Host with an empty port", "GET / HTTP/1.1\r\nHost: a:\r\n\r\n", badHost},
	{"a Host with two ports", "GET / HTTP/1.1\r\nHost: a:80:90\r\n\r\n", badHost},
	{"a port above 65535", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", badHost},
	{"a port alone", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n", badHost},
	{"an open bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", badHost},
	{"empty brackets", "GET / HTTP/1.1\r\nHost: []\r\n\r\n", badHost},
	{"more behind brackets", "GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n", badHost},
	{"a zone in brackets", "GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n", badHost},
	{"a URL to another host", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", hostDiffers},
	{"a URL to another port", "GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n", hostDiffers},
	{"a URL with a user", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", hostDiffers},
	{"a URL with a user, in Host too", "GET http://u@a/ HTTP/1.1\r\nHost: u@a\r\n\r\n", badHost},
	{"a URL without Host", "GET http://a/ HTTP/1.1\r\n\r\n", hostMissing},
	{"a URL without authority", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", hostDiffers},
	{"a URL without path", "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", targetPath},
	{"a URL without path, with a query", "GET http://a?x=/ HTTP/1.1\r\nHost: a\r\n\r\n", targetPath},
	{"a URL of another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", targetScheme},
	{"a URL of a file", "GET file:///etc HTTP/1.1\r\nHost: a\r\n\r\n", targetScheme},
	{"a URL with one slash", "GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n", targetForm},

	// Connection, Expect.
	{"Connection names Host", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, Host\r\n\r\n", optionForbidden},
	{"Connection names Content-Length", "POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\n", optionForbidden},
	{"Connection names Content-Type", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Content-Type\r\n\r\n", optionForbidden},
	{"Connection names Authorization", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Authorization\r\n\r\n", optionForbidden},
	{"Connection names Cookie", "GET / HTTP/1.1\r\nHost: a\r\nConnection: cookie\r\n\r\n", optionForbidden},
	{"Connection names traceparent", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Traceparent\r\n\r\n", optionForbidden},
	{"Connection names tracestate", "GET / HTTP/1.1\r\nHost: a\r\nConnection: tracestate\r\n\r\n", optionForbidden},
	{"Connection names X-Forwarded-For", "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Forwarded-For\r\n\r\n", optionForbidden},
	{"Connection names x_forwarded_for", "GET / HTTP/1.1\r\nHost: a\r\nConnection: x_forwarded_for\r\n\r\n", optionForbidden},
	{"Connection names Forwarded", "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive,,Forwarded\r\n\r\n", optionForbidden},
	{"Connection names Stoa-Caller", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Stoa-Caller\r\n\r\n", optionForbidden},
	{"Connection names Idempotency-Key", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Idempotency-Key\r\n\r\n", optionForbidden},
	{"Connection names Cache-Control", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Cache-Control\r\n\r\n", optionForbidden},
	{"Connection names it in the second line", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: b\r\nConnection: Host\r\n\r\n", optionForbidden},
	{"Connection is no list of tokens", "GET / HTTP/1.1\r\nHost: a\r\nConnection: \"Host\"\r\n\r\n", badOption},
	{"Connection with a no-break space", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\xa0\r\n\r\n", badOption},
	{"Connection names very many", "GET / HTTP/1.1\r\nHost: a\r\nConnection: " + strings.Repeat("x,", 33) + "\r\n\r\n", tooManyOptions},
	{"an unknown expectation", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 200-ok\r\n\r\n", badExpect},
	{"two expectations", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n\r\n", badExpect},

	// Limits.
	{"a long target", "GET /" + strings.Repeat("a", 8<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n", targetLong},
	{"a long query", "GET /?" + strings.Repeat("a", 8<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n", targetLong},
	{"a target without end", "GET /" + strings.Repeat("a", 20<<10), targetLong},
	{"a long value", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 16<<10) + "\r\n\r\n", headLong},
	{"a long name", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("a", 16<<10) + ": b\r\n\r\n", headLong},
	{"a long method", strings.Repeat("A", 17<<10) + " / HTTP/1.1\r\nHost: a\r\n\r\n", headLong},
	{"a line of spaces", "GET / HTTP/1.1\r\nHost: a\r\nX:" + strings.Repeat(" ", 16<<10) + "\r\n\r\n", headLong},
	{"many fields", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: b\r\n", 100) + "\r\n", tooManyFields},
}

func TestRefusedRequests(t *testing.T) {
	for _, c := range refusedRequests {
		var r Request
		err := r.Parse([]byte(c.in), Limits{})
		var e *Error
		if !errors.As(err, &e) || *e != rules[c.want] {
			t.Errorf("%s: %.200q gave %v, want %v", c.claim, c.in, err, rules[c.want].Text)
		}
	}
	if len(refusedRequests) < 76 {
		t.Errorf("the corpus has shrunk to %d", len(refusedRequests))
	}
}

var refusedAnswers = []struct {
	claim, in string
	want      rule
}{
	{"length and coding", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", lengthAndCoding},
	{"length and coding of a 304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", lengthAndCoding},
	{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", lengthRepeated},
	{"a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", badLength},
	{"a length with a leading zero", "HTTP/1.1 200 OK\r\nContent-Length: 05\r\n\r\n", badLength},
	{"gzip, chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", badCoding},
	{"identity", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n", badCoding},
	{"two codings", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", codingRepeated},
	{"a coding in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", codingInOld},
	{"Transfer_Encoding", "HTTP/1.1 200 OK\r\nTransfer_Encoding: chunked\r\n\r\n", underscoreFraming},
	{"an interim answer with a coding", "HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n", framedInterim},
	{"a switch with a length", "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 5\r\n\r\n", framedInterim},
	{"an empty line first", "\r\nHTTP/1.1 200 OK\r\n\r\n", badStatusLine},
	{"bytes before", "xHTTP/1.1 200 OK\r\n\r\n", badStatusLine},
	{"the body of another", "{\"a\":1}HTTP/1.1 200 OK\r\n\r\n", badStatusLine},
	{"HTTP/0.9", "<html>", badStatusLine},
	{"a lower-case version", "http/1.1 200 OK\r\n\r\n", badStatusLine},
	{"version 2.0", "HTTP/2.0 200 OK\r\n\r\n", badStatusLine},
	{"version 2", "HTTP/2 200 OK\r\n\r\n", badStatusLine},
	{"version 1.2", "HTTP/1.2 200 OK\r\n\r\n", otherVersion},
	{"no status", "HTTP/1.1 OK\r\nX: 1\r\n\r\n", badStatusLine},
	{"two spaces before the status", "HTTP/1.1  200 OK\r\n\r\n", badStatusLine},
	{"a status of two digits", "HTTP/1.1 20 OK\r\n\r\n", badStatusLine},
	{"a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", badStatusLine},
	{"a status with a sign", "HTTP/1.1 +20 OK\r\n\r\n", badStatusLine},
	{"a status below 100", "HTTP/1.1 099 OK\r\n\r\n", badStatus},
	{"a tab behind the status", "HTTP/1.1 200\tOK\r\n\r\n", badStatusLine},
	{"LF ends the status line", "HTTP/1.1 200 OK\nX: 1\r\n\r\n", bareLF},
	{"CR in the reason", "HTTP/1.1 200 O\rK\r\n\r\n", bareCR},
	{"NUL in the reason", "HTTP/1.1 200 O\x00K\r\n\r\n", badReason},
	{"LF ends a field", "HTTP/1.1 200 OK\r\nX: 1\nY: 2\r\n\r\n", bareLF},
	{"CR in a value", "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\n\r\n", bareCR},
	{"NUL in a value", "HTTP/1.1 200 OK\r\nX: a\x00\r\n\r\n", controlByte},
	{"a folded line", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", obsFold},
	{"a space before a colon", "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n", spaceBeforeColon},
	{"no colon", "HTTP/1.1 200 OK\r\nX\r\n\r\n", noColon},
	{"Connection names Content-Length", "HTTP/1.1 200 OK\r\nConnection: Content-Length\r\nContent-Length: 5\r\n\r\n", optionForbidden},
	{"Connection names Set-Cookie", "HTTP/1.1 200 OK\r\nConnection: Set-Cookie\r\n\r\n", optionForbidden},
	{"a long head", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 16<<10) + "\r\n\r\n", headLong},
	{"a long reason", "HTTP/1.1 200 " + strings.Repeat("a", 16<<10) + "\r\n\r\n", headLong},
	{"many fields", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: b\r\n", 101) + "\r\n", tooManyFields},
}

// A service that breaks a rule is answered for with 502.
func TestRefusedAnswers(t *testing.T) {
	for _, c := range refusedAnswers {
		var r Response
		err := r.Parse([]byte(c.in), Limits{})
		var e *Error
		if !errors.As(err, &e) || e.Status != 502 || e.Text != rules[c.want].Text {
			t.Errorf("%s: %.200q gave %v, want %v", c.claim, c.in, err, rules[c.want].Text)
		}
	}
}

// Every rule can be broken, has a text and names its source, so that no rule rests untested.
func TestRulesAreProved(t *testing.T) {
	broken := map[rule]bool{ok: true, short: true, preface: true}
	for _, c := range refusedRequests {
		broken[c.want] = true
	}
	for _, c := range refusedAnswers {
		broken[c.want] = true
	}
	for _, c := range refusedChunks {
		broken[c.want] = true
	}
	for r, e := range rules {
		if !broken[rule(r)] {
			t.Errorf("no message breaks rule %d, %q", r, e.Text)
		}
		if rule(r) > preface && (e.Status < 400 || !strings.Contains(e.Text, "RFC ")) {
			t.Errorf("rule %d says %d, %q", r, e.Status, e.Text)
		}
	}
}
