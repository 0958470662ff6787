package h1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// What we take, net/http takes too, and reads the same from it: method, target, host,
// fields, framing, data, and the byte at which the next message begins. It refuses more
// or says it otherwise only in what these say:
//
//   - foreignTarget: a target that is no URL for net/url, for an escape that is none or
//     a byte that must be escaped. Package route refuses them by their path, and a query is opaque.
//   - Pragma: no-cache makes it add Cache-Control: no-cache.
//   - It takes Host, Transfer-Encoding, Trailer and, with close, Connection out of the fields, and refuses a chunked message
//     whose Trailer announces a field that must be no trailer. We drop such trailers when they come.
//   - A line of a chunk size may have 4,096 bytes; we bound the extensions of a body together.
//
// It takes much more than we do, as the tables of refused messages show.

func foreignTarget(target string) bool {
	_, err := url.ParseRequestURI(target)
	return err != nil && target != "*"
}

// oracleFields compares our fields with net/http's.
func oracleFields(h *Head, b []byte, theirs http.Header) error {
	ours := http.Header{}
	for _, f := range h.Fields {
		name := textproto.CanonicalMIMEHeaderKey(string(f.Name.In(b)))
		switch name {
		case "Host", "Transfer-Encoding", "Trailer":
			continue
		}
		ours[name] = append(ours[name], string(f.Value.In(b)))
	}
	theirs = theirs.Clone()
	theirs.Del("Transfer-Encoding") // net/http leaves it where there is no body
	theirs.Del("Trailer")
	theirs.Del("Host") // and this in answers
	if theirs["Connection"] == nil {
		delete(ours, "Connection")
	}
	if ours["Pragma"] != nil && ours["Cache-Control"] == nil {
		delete(theirs, "Cache-Control")
	}
	for _, k := range [2]http.Header{ours, theirs} {
		for name := range k {
			if !slices.Equal(ours[name], theirs[name]) {
				return fmt.Errorf("%s: we read %q, net/http %q", name, ours[name], theirs[name])
			}
		}
	}
	return nil
}

// badAnnouncement says whether net/http refuses the Trailer field.
func badAnnouncement(h *Head, b []byte) bool {
	for _, f := range h.Fields {
		if f.ID == Trailer {
			for _, bad := range []string{"transfer-encoding", "trailer", "content-length"} {
				if h.Chunked && lists(f.Value.In(b), bad) {
					return true
				}
			}
		}
	}
	return false
}

// bodyOf reads a body as we do; ended says whether all of it was there.
func bodyOf(kind Body, length int64, in []byte) (d, rest []byte, ended bool, err error) {
	switch kind {
	case Sized:
		if int64(len(in)) < length {
			return in, nil, false, nil
		}
		return in[:length], in[length:], true, nil
	case InChunks:
		var c Chunks
		d, rest, err = readData(&c, in, 1<<20)
		return d, rest, c.Done(), err
	case UntilClose:
		return in, nil, true, nil
	}
	return nil, in, true, nil
}

// oracleBody compares what we read of a body with what net/http does, if we read it to its end.
func oracleBody(kind Body, length int64, in []byte, theirs io.Reader, left *bufio.Reader) error {
	d, rest, ended, err := bodyOf(kind, length, in)
	if err != nil || !ended {
		return nil
	}
	for line := range bytes.Lines(in) {
		if kind == InChunks && len(line) > 4000 {
			return nil
		}
	}
	data, err := io.ReadAll(theirs)
	if err != nil {
		return fmt.Errorf("we read a body of %q, net/http says %v", d, err)
	}
	behind, _ := io.ReadAll(left)
	if !bytes.Equal(d, data) || !bytes.Equal(rest, behind) {
		return fmt.Errorf("we read a body of %q, then %q; net/http %q, then %q", d, rest, data, behind)
	}
	return nil
}

func FuzzRequest(f *testing.F) {
	for _, c := range refusedRequests {
		if len(c.in) < 500 {
			f.Add([]byte(c.in), uint16(len(c.in)/2))
		}
	}
	for _, c := range takenRequests {
		f.Add([]byte(c.in), uint16(20))
	}
	f.Add([]byte(bigHead), uint16(300))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: 1\r\n\r\nGET "), uint16(80))
	f.Fuzz(func(t *testing.T, in []byte, cut uint16) { checkRequest(t, in, int(cut)) })
}

// checkRequest says whether in is read the same whole and in pieces, and if it is taken
// whether net/http reads it the same and what is sent on is read the same.
func checkRequest(t *testing.T, in []byte, cut int) (taken bool) {
	b := in[:len(in):len(in)]
	var r Request
	err := r.Parse(b, Limits{})
	checkCut(t, new(Request), b, cut, told(&r, b, err), err)
	if err != nil {
		return false
	}
	checkSpans(t, &r.Head, b, r.Method, r.Target, r.Path, r.Query, r.Host, r.Hostname, r.Upgrade)
	left := bufio.NewReaderSize(bytes.NewReader(in), 64<<10)
	theirs, err := http.ReadRequest(left)
	target := string(r.Target.In(b))
	if err != nil {
		if foreignTarget(target) || badAnnouncement(&r.Head, b) {
			return true
		}
		t.Fatalf("%q: net/http refuses it: %v", in, err)
	}
	if theirs.Method != string(r.Method.In(b)) || theirs.RequestURI != target || theirs.ProtoMajor != 1 || theirs.ProtoMinor != r.Minor ||
		!strings.EqualFold(theirs.Host, string(r.Host.In(b))) {
		t.Fatalf("%q: we read %s, net/http %s %s %s HTTP/%d.%d", in, r.say(b), theirs.Method, theirs.RequestURI, theirs.Host, theirs.ProtoMajor, theirs.ProtoMinor)
	}
	if theirs.URL.EscapedPath() != string(r.Path.In(b)) && theirs.URL.Path != string(r.Path.In(b)) && theirs.URL.RawPath == "" {
		t.Fatalf("%q: our path is %q, net/http's %q", in, r.Path.In(b), theirs.URL.EscapedPath())
	}
	if theirs.URL.RawQuery != string(r.Query.In(b)) || theirs.URL.ForceQuery != (r.HasQuery && r.Query.Len == 0) {
		t.Fatalf("%q: our query is %q, net/http's %q", in, r.Query.In(b), theirs.URL.RawQuery)
	}
	if chunked := len(theirs.TransferEncoding) > 0; chunked != r.Chunked || !chunked && theirs.ContentLength != max(0, r.ContentLength) || theirs.Close == r.KeepAlive {
		t.Fatalf("%q: we read %s; net/http chunked %v, length %d, close %v", in, r.say(b), chunked, theirs.ContentLength, theirs.Close)
	}
	if err := oracleFields(&r.Head, b, theirs.Header); err != nil {
		t.Fatalf("%q: %v", in, err)
	}
	kind := NoBody
	switch {
	case r.Chunked:
		kind = InChunks
	case r.ContentLength > 0:
		kind = Sized
	}
	if err := oracleBody(kind, r.ContentLength, b[r.Len:], theirs.Body, left); err != nil {
		t.Fatalf("%q: %v", in, err)
	}
	sentOn(t, &r, b)
	return true
}

// checkCut reads in piece by piece and compares with what the whole of it gave. A fault
// may be found as late as when its line ends.
func checkCut(t *testing.T, p parser, in []byte, cut int, want string, err error) {
	if err != nil && err != ErrShort {
		in = append(in, "\r\n"...)
	}
	if got := feed(t, p, in, []int{cut, cut + 1, cut + 7}); got != want {
		t.Fatalf("%q cut at %d is\n\t%s, whole it is\n\t%s", in, cut, got, want)
	}
}

// checkSpans says whether all that was read lies in the head.
func checkSpans(t *testing.T, h *Head, b []byte, all ...Span) {
	for _, f := range h.Fields {
		all = append(all, f.Name, f.Value, f.Line())
		if line := f.Line().In(b); !bytes.HasSuffix(line, []byte("\r\n")) || bytes.Count(line, []byte("\n")) != 1 || bytes.Count(line, []byte("\r")) != 1 {
			t.Fatalf("%q: the line of %s is %q", b, f.Name.In(b), line)
		}
	}
	for _, s := range all {
		if s.Off < 0 || s.Len < 0 || int(s.End()) > h.Len || h.Len > len(b) {
			t.Fatalf("%q: %v is outside the head of %d", b, s, h.Len)
		}
	}
}

// sentOn says whether the head that a proxy would send on, the lines that came less those
// of the hop, is read as the same.
func sentOn(t *testing.T, r *Request, b []byte) {
	out := fmt.Appendf(nil, "%s %s HTTP/1.%d\r\n", r.Method.In(b), r.Origin().In(b), r.Minor)
	kept := 0
	for _, f := range r.Fields {
		if !f.Hop {
			kept++
			out = append(out, f.Line().In(b)...)
		}
	}
	if r.Chunked {
		out = append(out, "Transfer-Encoding: chunked\r\n"...)
	}
	if r.TETrailers {
		out = append(out, "TE: trailers\r\n"...)
	}
	if r.Upgrade.Len > 0 {
		out = fmt.Appendf(out, "Connection: upgrade\r\nUpgrade: %s\r\n", r.Upgrade.In(b))
	}
	out = append(out, "\r\n"...)
	var again Request
	if err := again.Parse(out, Limits{Head: len(out), Fields: maxFields}); err != nil {
		t.Fatalf("%q was taken, and sent on as %q is refused: %v", b, out, err)
	}
	same := bytes.Equal(again.Method.In(out), r.Method.In(b)) && bytes.Equal(again.Target.In(out), r.Origin().In(b)) && bytes.Equal(again.Path.In(out), r.Path.In(b)) &&
		bytes.Equal(again.Query.In(out), r.Query.In(b)) && again.HasQuery == r.HasQuery && (r.Index(Host) == 0 || bytes.Equal(again.Host.In(out), r.Host.In(b))) &&
		again.ContentLength == r.ContentLength && again.Chunked == r.Chunked && again.Expect100 == r.Expect100 && again.TETrailers == r.TETrailers &&
		bytes.Equal(again.Upgrade.In(out), r.Upgrade.In(b)) && again.Len == len(out)
	i := 0
	for _, f := range r.Fields {
		if f.Hop {
			continue
		}
		g := again.Fields[i]
		i++
		same = same && !g.Hop && g.ID == f.ID && bytes.Equal(g.Line().In(out), f.Line().In(b)) && bytes.Equal(g.Value.In(out), f.Value.In(b))
	}
	if !same {
		t.Fatalf("%q was read as\n\t%s, and sent on as %q as\n\t%s", b, r.say(b), out, again.say(out))
	}
}

func FuzzResponse(f *testing.F) {
	for _, c := range refusedAnswers {
		if len(c.in) < 500 {
			f.Add([]byte(c.in), uint16(len(c.in)/2), false)
		}
	}
	for _, c := range takenAnswers {
		f.Add([]byte(c.in), uint16(20), true)
	}
	f.Add([]byte(answerHead), uint16(50), false)
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: 1\r\n\r\nHTTP/1.1 "), uint16(60), false)
	f.Fuzz(func(t *testing.T, in []byte, cut uint16, head bool) { checkAnswer(t, in, int(cut), head) })
}

// checkAnswer is checkRequest for an answer, to HEAD if head is set.
func checkAnswer(t *testing.T, in []byte, cut int, head bool) (taken bool) {
	b := in[:len(in):len(in)]
	var r Response
	err := r.Parse(b, Limits{})
	checkCut(t, new(Response), b, cut, told(&r, b, err), err)
	if err != nil {
		return false
	}
	checkSpans(t, &r.Head, b, r.Reason, r.Upgrade)
	method := "GET"
	if head {
		method = "HEAD"
	}
	left := bufio.NewReaderSize(bytes.NewReader(in), 64<<10)
	theirs, err := http.ReadResponse(left, &http.Request{Method: method})
	if err != nil {
		if badAnnouncement(&r.Head, b) {
			return true
		}
		t.Fatalf("%q: net/http refuses it: %v", in, err)
	}
	reason := strings.Trim(strings.TrimPrefix(theirs.Status, fmt.Sprint(r.Status)), " \t")
	if theirs.StatusCode != r.Status || theirs.ProtoMajor != 1 || theirs.ProtoMinor != r.Minor || reason != strings.Trim(string(r.Reason.In(b)), " \t") {
		t.Fatalf("%q: we read %s, net/http %q HTTP/%d.%d", in, r.say(b), theirs.Status, theirs.ProtoMajor, theirs.ProtoMinor)
	}
	if err := oracleFields(&r.Head, b, theirs.Header); err != nil {
		t.Fatalf("%q: %v", in, err)
	}
	kind := r.Body(head)
	if kind == Sized && theirs.ContentLength != r.ContentLength || kind == InChunks && !slices.Equal(theirs.TransferEncoding, []string{"chunked"}) ||
		kind == UntilClose && (theirs.ContentLength != -1 || theirs.TransferEncoding != nil) {
		t.Fatalf("%q: we read %s; net/http %v, length %d", in, r.say(b), theirs.TransferEncoding, theirs.ContentLength)
	}
	if kind != UntilClose && r.KeepAlive && theirs.Close {
		t.Fatalf("%q: we would use the connection again, net/http would not", in)
	}
	if kind != UntilClose || r.Status != 101 {
		if err := oracleBody(kind, r.ContentLength, b[r.Len:], theirs.Body, left); err != nil {
			t.Fatalf("%q: %v", in, err)
		}
	}
	return true
}

func FuzzChunks(f *testing.F) {
	for _, c := range refusedChunks {
		if len(c.in) < 500 {
			f.Add([]byte(c.in), uint8(3), uint8(5))
		}
	}
	f.Add([]byte("5;a=b\r\nhello\r\na\r\n0123456789\r\n0;\r\nX: 1\r\nHost: a\r\n\r\nGET /"), uint8(1), uint8(7))
	f.Add(chunked(strings.Repeat("x", 100), 7), uint8(13), uint8(200))
	f.Fuzz(func(t *testing.T, in []byte, one, two uint8) {
		b := append(in[:len(in):len(in)], "\r\n"...) // a fault in a trailer may be found as late as when its line ends
		b = b[:len(b):len(b)]
		var whole, cut, inData Chunks
		pass, rest, err := readChunks(&whole, b, len(b)+1)
		pass2, rest2, err2 := readChunks(&cut, b, int(one)+1, int(two)+1)
		if err != err2 || whole.Done() != cut.Done() || whole.Data() != cut.Data() || whole.say() != cut.say() || err == nil && (!bytes.Equal(pass, pass2) || !bytes.Equal(rest, rest2)) {
			t.Fatalf("%q whole: %q, rest %q, %v; cut: %q, rest %q, %v", in, pass, rest, err, pass2, rest2, err2)
		}
		d, rest3, err3 := readData(&inData, b, int(one)+1)
		if err3 != err || inData.Done() != whole.Done() || err == nil && !bytes.Equal(rest, rest3) || whole.Data() != inData.Data() || int64(len(d)) != whole.Data() {
			t.Fatalf("%q: passed %d bytes of data, rest %q, %v; data %d, rest %q, %v", in, whole.Data(), rest, err, len(d), rest3, err3)
		}
		if !whole.Done() {
			return
		}
		// net/http reads the same data, of what came and of what is sent on.
		long := false
		for line := range bytes.Lines(in) {
			long = long || len(line) > 4000
		}
		for _, body := range [][]byte{in, pass} {
			theirs, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(body)))
			if (err != nil || !bytes.Equal(theirs, d)) && !long {
				t.Fatalf("%q: we read %q, net/http %q, %v", body, d, theirs, err)
			}
		}
		// What is sent on is read as the same, and nothing more is dropped from it.
		var again Chunks
		pass4, rest4, err := readChunks(&again, pass, len(pass)+1)
		if err != nil || len(rest4) > 0 || !again.Done() || !bytes.Equal(pass4, pass) || again.say() != whole.say() || again.Data() != whole.Data() {
			t.Fatalf("%q is sent on as %q, read as %q, %v", in, pass, pass4, err)
		}
	})
}
