package h1

import (
	"fmt"
	"strings"
	"testing"
)

// say tells what was read of a request, for comparison: what is zero is left out.
func (r *Request) say(b []byte) string {
	s := fmt.Sprintf("%s %s %s 1.%d host=%s name=%s", r.Method.In(b), r.Target.In(b), r.Path.In(b), r.Minor, r.Host.In(b), r.Hostname.In(b))
	if r.HasQuery {
		s += " query=" + string(r.Query.In(b))
	}
	for _, f := range []struct {
		set  bool
		name string
	}{{r.Absolute, "absolute"}, {r.Expect100, "expect"}, {r.TETrailers, "te"}} {
		if f.set {
			s += " " + f.name
		}
	}
	return s + r.Head.say(b)
}

func (r *Response) say(b []byte) string {
	s := fmt.Sprintf("1.%d %d %q", r.Minor, r.Status, r.Reason.In(b))
	if r.Bodiless {
		s += " bodiless"
	}
	return s + r.Head.say(b)
}

func (h *Head) say(b []byte) string {
	s := ""
	if h.ContentLength >= 0 {
		s += fmt.Sprint(" length=", h.ContentLength)
	}
	if h.Chunked {
		s += " chunked"
	}
	if h.KeepAlive {
		s += " keep"
	}
	if h.Upgrade != (Span{}) {
		s += " upgrade=" + string(h.Upgrade.In(b))
	}
	if rest := len(b) - h.Len; rest > 0 {
		s += fmt.Sprint(" rest=", rest)
	}
	s += " |"
	for _, f := range h.Fields {
		s += " " + string(f.Name.In(b))
		if f.Hop {
			s += "!"
		}
	}
	return s
}

// What is odd but has one meaning is taken.
var takenRequests = []struct{ claim, in, want string }{
	{"the least", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / / 1.1 host=a name=a keep | Host"},
	{"the least of HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "GET / / 1.0 host= name= |"},
	{"HTTP/1.0 that stays", "GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n", "GET / / 1.0 host=a name=a keep | Host Connection!"},
	{"HTTP/1.0 that stays and closes", "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", "GET / / 1.0 host= name= | Connection!"},
	{"a body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "POST / / 1.1 host=a name=a length=5 keep rest=5 | Host Content-Length"},
	{"a length of 0", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "POST / / 1.1 host=a name=a length=0 keep | Host Content-Length"},
	{"a length of 18 digits", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999999999\r\n\r\n", "POST / / 1.1 host=a name=a length=999999999999999999 keep | Host Content-Length"},
	{"a GET with a body", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", "GET / / 1.1 host=a name=a length=1 keep rest=1 | Host Content-Length"},
	{"chunks", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", "POST / / 1.1 host=a name=a chunked keep rest=5 | Host Transfer-Encoding!"},
	{"a second request behind", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /", "GET / / 1.1 host=a name=a keep rest=5 | Host"},
	{"no space behind a colon, many, and tabs", "GET / HTTP/1.1\r\nHost:a\r\nX:\t  b \t\r\nY:\r\nZ:   \r\n\r\n", "GET / / 1.1 host=a name=a keep | Host X Y Z"},
	{"a lower-case method", "get / HTTP/1.1\r\nHost: a\r\n\r\n", "get / / 1.1 host=a name=a keep | Host"},
	{"an unknown method", "M-SEARCH!#$%&'*+.^_`|~ / HTTP/1.1\r\nHost: a\r\n\r\n", "M-SEARCH!#$%&'*+.^_`|~ / / 1.1 host=a name=a keep | Host"},
	{"all token bytes in a name", "GET / HTTP/1.1\r\nHost: a\r\n!#$%&'*+-.^_`|~09azAZ: b\r\n\r\n", "GET / / 1.1 host=a name=a keep | Host !#$%&'*+-.^_`|~09azAZ"},
	{"an empty query", "GET /x? HTTP/1.1\r\nHost: a\r\n\r\n", "GET /x? /x 1.1 host=a name=a query= keep | Host"},
	{"questions in a query", "GET /x?a?b=/c HTTP/1.1\r\nHost: a\r\n\r\n", "GET /x?a?b=/c /x 1.1 host=a name=a query=a?b=/c keep | Host"},
	{"a path that is not canonical", "GET //a/../%2e%zz\\ HTTP/1.1\r\nHost: a\r\n\r\n", "GET //a/../%2e%zz\\ //a/../%2e%zz\\ 1.1 host=a name=a keep | Host"},
	{"odd bytes in a target", "GET /\"<>[]^`{|}? HTTP/1.1\r\nHost: a\r\n\r\n", "GET /\"<>[]^`{|}? /\"<>[]^`{|} 1.1 host=a name=a query= keep | Host"},
	{"star", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * * 1.1 host=a name=a keep | Host"},
	{"a URL", "GET http://A.b:80/c?d HTTP/1.1\r\nHost: a.B:80\r\n\r\n", "GET http://A.b:80/c?d /c 1.1 host=a.B:80 name=a.B query=d absolute keep | Host"},
	{"a URL of https, in capitals", "GET HTTPS://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET HTTPS://a/ / 1.1 host=a name=a absolute keep | Host"},
	{"a URL in HTTP/1.0 without Host", "GET http://a/ HTTP/1.0\r\n\r\n", "GET http://a/ / 1.0 host=a name=a absolute |"},
	{"a URL in a query", "GET /?http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET /?http://b/ / 1.1 host=a name=a query=http://b/ keep | Host"},
	{"an IPv6 address", "GET / HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n", "GET / / 1.1 host=[2001:db8::1]:8080 name=[2001:db8::1] keep | Host"},
	{"an underscore and a last dot in a host", "GET / HTTP/1.1\r\nHost: a_b.c.\r\n\r\n", "GET / / 1.1 host=a_b.c. name=a_b.c. keep | Host"},
	{"close", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", "GET / / 1.1 host=a name=a | Host Connection!"},
	{"close in a list with holes", "GET / HTTP/1.1\r\nHost: a\r\nConnection: , keep-alive ,\t,close,\r\n\r\n", "GET / / 1.1 host=a name=a | Host Connection!"},
	{"fields of this hop", "GET / HTTP/1.1\r\nHost: a\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\nTE: gzip, Trailers\r\nUpgrade: x\r\n\r\n",
		"GET / / 1.1 host=a name=a te keep | Host Keep-Alive! Proxy-Connection! Proxy-Authorization! TE! Upgrade!"},
	{"fields that Connection names", "GET / HTTP/1.1\r\nHost: a\r\nx-a: 1\r\nX-AB: 2\r\nConnection: X-A, accept\r\nX-a: 3\r\nAccept: 4\r\n\r\n",
		"GET / / 1.1 host=a name=a keep | Host x-a! X-AB Connection! X-a! Accept!"},
	{"TE in two fields", "GET / HTTP/1.1\r\nHost: a\r\nTE: gzip\r\nTE: trailers\r\n\r\n", "GET / / 1.1 host=a name=a te keep | Host TE! TE!"},
	{"TE without trailers", "GET / HTTP/1.1\r\nHost: a\r\nTE: trailersx\r\n\r\n", "GET / / 1.1 host=a name=a keep | Host TE!"},
	{"an upgrade", "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n", "GET / / 1.1 host=a name=a keep upgrade=websocket | Host Connection! Upgrade!"},
	{"an upgrade with a version", "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: foo/1.0\r\n\r\n", "GET / / 1.1 host=a name=a keep upgrade=foo/1.0 | Host Connection! Upgrade!"},
	{"an upgrade with an empty body", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n", "GET / / 1.1 host=a name=a length=0 keep upgrade=a | Host Content-Length Connection! Upgrade!"},
	{"an upgrade with a body is not seen", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n", "GET / / 1.1 host=a name=a length=1 keep | Host Content-Length Connection! Upgrade!"},
	{"an upgrade with chunks is not seen", "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n", "GET / / 1.1 host=a name=a chunked keep | Host Transfer-Encoding! Connection! Upgrade!"},
	{"an upgrade that Connection does not name is not seen", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", "GET / / 1.1 host=a name=a keep | Host Upgrade!"},
	{"an upgrade in HTTP/1.0 is not seen", "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "GET / / 1.0 host= name= | Connection! Upgrade!"},
	{"a list of upgrades is not seen", "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket, h2c\r\n\r\n", "GET / / 1.1 host=a name=a keep | Host Connection! Upgrade!"},
	{"two upgrades are not seen", "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n", "GET / / 1.1 host=a name=a keep | Host Connection! Upgrade! Upgrade!"},
	{"an upgrade to h2c is not seen", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: H2C\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", "GET / / 1.1 host=a name=a keep | Host Connection! Upgrade! HTTP2-Settings!"},
	{"an upgrade to TLS is not seen", "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: TLS/1.0\r\n\r\n", "GET / / 1.1 host=a name=a keep | Host Connection! Upgrade!"},
	{"an upgrade to HTTP/2.0 is not seen", "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: HTTP/2.0\r\n\r\n", "GET / / 1.1 host=a name=a keep | Host Connection! Upgrade!"},
	{"an upgrade to no token is not seen", "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: a/\r\n\r\n", "GET / / 1.1 host=a name=a keep | Host Connection! Upgrade!"},
	{"an expectation", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-Continue\r\n\r\n", "POST / / 1.1 host=a name=a expect length=1 keep | Host Content-Length Expect"},
	{"an expectation without a body is dropped", "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", "POST / / 1.1 host=a name=a keep | Host Expect!"},
	{"an expectation in HTTP/1.0 is dropped", "POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n", "POST / / 1.0 host= name= length=1 | Content-Length Expect!"},
	{"bytes of 0x80 and above in values", "GET / HTTP/1.1\r\nHost: a\r\nX: \x80\u00e9\xa0\r\n\r\n", "GET / / 1.1 host=a name=a keep | Host X"},
	{"Connection names what is not there", "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Nothing\r\n\r\n", "GET / / 1.1 host=a name=a keep | Host Connection!"},
	{"Connection names 32", "GET / HTTP/1.1\r\nHost: a\r\nConnection: " + strings.Repeat("x,", 32) + "\r\n\r\n", "GET / / 1.1 host=a name=a keep | Host Connection!"},
	{"an empty Connection", "GET / HTTP/1.1\r\nHost: a\r\nConnection:\r\n\r\n", "GET / / 1.1 host=a name=a keep | Host Connection!"},
}

func TestTakenRequests(t *testing.T) {
	var r Request // used again: nothing of one request may show in the next
	for _, c := range takenRequests {
		if err := r.Parse([]byte(c.in), Limits{}); err != nil {
			t.Errorf("%s: %q gave %v", c.claim, c.in, err)
		} else if got := r.say([]byte(c.in)); got != c.want {
			t.Errorf("%s: %q was read as\n\t%s, want\n\t%s", c.claim, c.in, got, c.want)
		}
	}
}

var takenAnswers = []struct{ claim, in, want string }{
	{"the least", "HTTP/1.1 200 OK\r\n\r\n", `1.1 200 "OK" keep |`},
	{"an empty reason", "HTTP/1.1 200 \r\n\r\n", `1.1 200 "" keep |`},
	{"no reason and no space", "HTTP/1.1 200\r\n\r\n", `1.1 200 "" keep |`},
	{"a reason of spaces, tabs and other bytes", "HTTP/1.1 404 \t Nicht gefunden: \xfc\r\n\r\n", `1.1 404 "\t Nicht gefunden: \xfc" keep |`},
	{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nx", `1.0 200 "OK" rest=1 |`},
	{"HTTP/1.0 that stays", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", `1.0 200 "OK" length=1 keep rest=1 | Connection! Content-Length`},
	{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", `1.1 200 "OK" chunked keep | Transfer-Encoding!`},
	{"close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n", `1.1 200 "OK" length=1 | Connection! Content-Length`},
	{"204 with a length of 0", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", `1.1 204 "No Content" bodiless length=0 keep | Content-Length!`},
	{"204 that claims a body", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", `1.1 204 "No Content" bodiless length=5 | Content-Length!`},
	{"204 that claims chunks", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", `1.1 204 "No Content" bodiless chunked | Transfer-Encoding!`},
	{"304 with a length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", `1.1 304 "Not Modified" bodiless length=5 keep | Content-Length`},
	{"100", "HTTP/1.1 100 Continue\r\n\r\nHTTP", `1.1 100 "Continue" bodiless keep rest=4 |`},
	{"103", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", `1.1 103 "Early Hints" bodiless keep | Link`},
	{"101", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n\x81", `1.1 101 "Switching Protocols" bodiless length=0 keep upgrade=websocket rest=1 | Connection! Upgrade! Content-Length!`},
	{"101 to h2c is not seen", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", `1.1 101 "Switching Protocols" bodiless keep | Connection! Upgrade!`},
	{"101 in HTTP/1.0 is not seen", "HTTP/1.0 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: a\r\n\r\n", `1.0 101 "Switching Protocols" bodiless | Connection! Upgrade!`},
	{"426 offers an upgrade", "HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: a\r\nContent-Length: 0\r\n\r\n", `1.1 426 "Upgrade Required" length=0 keep | Connection! Upgrade! Content-Length`},
	{"a status of 999", "HTTP/1.1 999 Request denied\r\n\r\n", `1.1 999 "Request denied" keep |`},
	{"fields that Connection names", "HTTP/1.1 200 OK\r\nConnection: X-Secret\r\nx-secret: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: x\r\n\r\n",
		`1.1 200 "OK" keep | Connection! x-secret! Keep-Alive! Proxy-Authenticate!`},
}

func TestTakenAnswers(t *testing.T) {
	var r Response
	for _, c := range takenAnswers {
		if err := r.Parse([]byte(c.in), Limits{}); err != nil {
			t.Errorf("%s: %q gave %v", c.claim, c.in, err)
		} else if got := r.say([]byte(c.in)); got != c.want {
			t.Errorf("%s: %q was read as\n\t%s, want\n\t%s", c.claim, c.in, got, c.want)
		}
	}
}

// How an answer ends, and whether the connection is good for another.
func TestBody(t *testing.T) {
	for _, c := range []struct {
		in                  string
		get, head           Body
		interim             bool
		reuseGet, reuseHead bool
	}{
		{"HTTP/1.1 200 OK\r\n\r\n", UntilClose, NoBody, false, false, true},
		{"HTTP/1.0 200 OK\r\n\r\n", UntilClose, NoBody, false, false, false},
		{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Sized, NoBody, false, true, true},
		{"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", Sized, NoBody, false, false, false},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", InChunks, NoBody, false, true, true},
		{"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", NoBody, NoBody, false, true, true},
		{"HTTP/1.1 204 No Content\r\n\r\n", NoBody, NoBody, false, true, true},
		{"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", NoBody, NoBody, false, false, false},
		{"HTTP/1.1 100 Continue\r\n\r\n", NoBody, NoBody, true, true, true},
		{"HTTP/1.1 101 Switching Protocols\r\n\r\n", NoBody, NoBody, false, false, false},
	} {
		var r Response
		if err := r.Parse([]byte(c.in), Limits{}); err != nil || r.Body(false) != c.get || r.Body(true) != c.head || r.Interim() != c.interim ||
			r.Reusable(false) != c.reuseGet || r.Reusable(true) != c.reuseHead {
			t.Errorf("%q: %v, body of GET %d, of HEAD %d, interim %v, reusable %v, %v", c.in, err, r.Body(false), r.Body(true), r.Interim(), r.Reusable(false), r.Reusable(true))
		}
	}
}

// The preface of HTTP/2 is told from HTTP/1.1, and nothing else is.
func TestPreface(t *testing.T) {
	var r Request
	if err := r.Parse([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00"), Limits{}); err != ErrPreface {
		t.Errorf("the preface gave %v", err)
	}
	if err := r.Parse([]byte("PRI * HTTP/2.0\r"), Limits{}); err != ErrShort {
		t.Errorf("a part of the preface gave %v", err)
	}
}

// The values of fields are where they are said to be, and Line is the whole line.
func TestFields(t *testing.T) {
	in := []byte("GET / HTTP/1.1\r\nHost:a\r\nX: \t b c\t \r\nStoa_Caller:\x80\r\ntraceparent: 1\r\nTraceparent: 2\r\n\r\nrest")
	var r Request
	if err := r.Parse(in, Limits{}); err != nil {
		t.Fatal(err)
	}
	want := []struct {
		name, value, line string
		id                ID
	}{
		{"Host", "a", "Host:a\r\n", Host},
		{"X", "b c", "X: \t b c\t \r\n", Other},
		{"Stoa_Caller", "\x80", "Stoa_Caller:\x80\r\n", StoaField},
		{"traceparent", "1", "traceparent: 1\r\n", Traceparent},
		{"Traceparent", "2", "Traceparent: 2\r\n", Traceparent},
	}
	if len(r.Fields) != len(want) {
		t.Fatalf("%d fields, want %d", len(r.Fields), len(want))
	}
	for i, w := range want {
		f := r.Fields[i]
		if string(f.Name.In(in)) != w.name || string(f.Value.In(in)) != w.value || string(f.Line().In(in)) != w.line || f.ID != w.id {
			t.Errorf("field %d is %q, %q, %q, %v; want %+v", i, f.Name.In(in), f.Value.In(in), f.Line().In(in), f.ID, w)
		}
	}
	if r.Index(Host) != 1 || r.Index(Traceparent) != 4 || r.Index(Date) != 0 || r.First(Date) != nil || r.First(Host) != &r.Fields[0] {
		t.Errorf("index of Host %d, traceparent %d, Date %d", r.Index(Host), r.Index(Traceparent), r.Index(Date))
	}
	if !r.Repeated(Traceparent) || r.Repeated(Host) || string(r.Value(in, Traceparent)) != "1" || r.Value(in, Date) != nil {
		t.Errorf("repeated: traceparent %v, Host %v; value %q", r.Repeated(Traceparent), r.Repeated(Host), r.Value(in, Traceparent))
	}
	if string(r.Origin().In(in)) != "/" || r.Len != len(in)-len("rest") {
		t.Errorf("origin %q, length %d", r.Origin().In(in), r.Len)
	}
}

// Every known name is found in any case, and nothing near it is.
func TestNames(t *testing.T) {
	find := func(name string) ID { b := []byte(name + ":\r\n"); return identify(b, 0, len(name)) }
	for id := Connection; id < numIDs; id++ {
		name := names[id].spelling
		if name == "" {
			continue
		}
		for _, s := range []string{name, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:]} {
			if got := find(s); got != id {
				t.Errorf("%s is %v, want %v", s, got, id)
			}
		}
		for i := range name {
			near := name[:i] + string(name[i]^1) + name[i+1:]
			if skip([]byte(near), 0, tokenByte) == len(near) && find(near) == id {
				t.Errorf("%s is %v", near, id)
			}
		}
		if got := find(name + "x"); got == id {
			t.Errorf("%sx is %v", name, id)
		}
		if id.String() != name {
			t.Errorf("%d is called %s, want %s", id, id, name)
		}
	}
	for _, c := range []struct {
		name string
		want ID
	}{
		{"X-Forwarded-For", Identity}, {"x_forwarded_for", Identity}, {"X-FORWARDED_Client-Cert", Identity}, {"X-Forwarded", Identity}, {"X-Forwarded-", Identity},
		{"Forwarded", Identity}, {"forwarded", Identity}, {"X-Real-IP", Identity}, {"X_Real_Ip", Identity}, {"x-envoy-internal", Identity}, {"X_ENVOY_x", Identity},
		{"Stoa-Reason", StoaField}, {"stoa_caller", StoaField}, {"STOA-", StoaField},
		{"X-ForwardedFor", Other}, {"X-Forward", Other}, {"Forwarded-For", Other}, {"X-Real-IPs", Other}, {"X-Envoy", Other}, {"Stoa", Other}, {"Stoat-x", Other}, {"x", Other},
		{"X-Other", Other}, {"Fo", Other}, {"St", Other}, {"Via^", Other}, {"Hos", Other}, {"Hostt", Other}, {"connection~", Other}, {strings.Repeat("a", 300), Other},
	} {
		if got := find(c.name); got != c.want {
			t.Errorf("%s is %v, want %v", c.name, got, c.want)
		}
	}
}

func TestVerbs(t *testing.T) {
	for v := GET; v < numVerbs; v++ {
		if got := verb([]byte(v.String())); got != v {
			t.Errorf("%s is read as %d, want %d", v, got, v)
		}
	}
	if verb([]byte("get")) != OtherVerb || OtherVerb.String() != "" || OtherVerb.Idempotent() {
		t.Error("get is known")
	}
	for v, want := range map[Verb][2]bool{GET: {true, true}, HEAD: {true, true}, OPTIONS: {true, true}, PUT: {false, true}, DELETE: {false, true}, POST: {}, PATCH: {}} {
		if v.Safe() != want[0] || v.Idempotent() != want[1] {
			t.Errorf("%s: safe %v, idempotent %v", v, v.Safe(), v.Idempotent())
		}
	}
}

func TestKeepAliveTimeout(t *testing.T) {
	for in, want := range map[string]int{"timeout=5": 5, "max=100, Timeout=65": 65, "timeout=5,max=1": 5, "": -1, "max=1": -1, "timeout=": -1, "timeout=x": -1, "timeout=-1": -1, "timeout=99999999999": -1, "5": -1} {
		n, valid := KeepAliveTimeout([]byte(in))
		if !valid {
			n = -1
		}
		if n != want {
			t.Errorf("%q says %d, want %d", in, n, want)
		}
	}
}

// The search for control bytes finds the first, wherever it stands in its eight.
func TestControl(t *testing.T) {
	for n := range 40 {
		for at := range n {
			for c := range 256 {
				b := []byte(strings.Repeat("\x80", n))
				b[at] = byte(c)
				want := n
				if c < 0x20 && c != '\t' || c == 0x7f {
					want = at
				}
				if got := control(b, 0); got != want {
					t.Fatalf("%q: found at %d, want %d", b, got, want)
				}
			}
		}
	}
}
