package h1

import (
	"strings"
	"testing"
)

// parser is what requests and answers share in tests.
type parser interface {
	Parse([]byte, Limits) error
	say([]byte) string
}

func told(p parser, b []byte, err error) string {
	if err != nil {
		return err.Error()
	}
	return p.say(b)
}

// feed gives p more and more of in, cut at each of cuts, and tells what came of it, each
// time in another buffer: what p keeps of the last one must be offsets only.
func feed(t *testing.T, p parser, in []byte, cuts []int) string {
	for _, n := range append(cuts, len(in)) {
		if n > len(in) {
			continue
		}
		piece := append([]byte(nil), in[:n]...)
		err := p.Parse(piece, Limits{})
		if err == nil {
			return p.say(in)
		}
		if err != ErrShort {
			return err.Error()
		}
		if n >= defaultHead {
			t.Errorf("%.100q: still short at %d bytes", in, n)
		}
		clear(piece)
	}
	return ErrShort.Error()
}

func everyMessage(visit func(in string, p func() parser)) {
	request, answer := func() parser { return new(Request) }, func() parser { return new(Response) }
	for _, c := range refusedRequests {
		visit(c.in, request)
	}
	for _, c := range takenRequests {
		visit(c.in, request)
	}
	for _, c := range refusedAnswers {
		visit(c.in, answer)
	}
	for _, c := range takenAnswers {
		visit(c.in, answer)
	}
	visit(bigHead, request)
	visit("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", request)
}

// However a message is cut, it is read as the same, or breaks the same rule.
func TestSplits(t *testing.T) {
	everyMessage(func(in string, p func() parser) {
		b := []byte(in)
		whole := p()
		want := told(whole, b, whole.Parse(b, Limits{}))
		step := 1 + len(b)/600 // for the long ones, some of the points
		var all []int
		for n := 1; n < len(b); n++ {
			all = append(all, n)
			if n%step == 0 {
				if got := feed(t, p(), b, []int{n}); got != want {
					t.Fatalf("%.200q cut at %d is\n\t%s, whole it is\n\t%s", in, n, got, want)
				}
			}
		}
		if got := feed(t, p(), b, all); got != want {
			t.Errorf("%.200q byte by byte is\n\t%s, whole it is\n\t%s", in, got, want)
		}
	})
}

// A head that was given up does not show in the next one after Reset; a head that was
// read or refused shows in none.
func TestNothingIsLeftOver(t *testing.T) {
	for _, first := range []string{bigHead, bigHead[:300], "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "GET /x?y HTTP/1.1\r\nX: 1\r\nX"} {
		var r Request
		if r.Parse([]byte(first), Limits{}) == ErrShort {
			r.Reset()
		}
		in := []byte(smallHead)
		if err := r.Parse(in, Limits{}); err != nil || r.say(in) != "GET / / 1.1 host=a name=a keep | Host" || r.Repeated(Host) || r.Index(Other) != 0 {
			t.Errorf("after %.40q: %v, %s", first, err, r.say(in))
		}
	}
}

// A head that comes byte by byte is tried a few times for each line, not once for each byte.
func TestFewTries(t *testing.T) {
	for _, in := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", 16000) + "\r\n\r\n",
		"GET /" + strings.Repeat("y", 8000) + " HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: y\r\n", 99) + "\r\n",
	} {
		var r Request
		tries, last := 0, -1
		for n := 1; n <= len(in); n++ {
			if err := r.Parse([]byte(in[:n]), Limits{}); (err == nil) != (n == len(in)) {
				t.Fatalf("%.60q at %d: %v", in, n, err)
			}
			if r.tried != last {
				tries, last = tries+1, r.tried
			}
		}
		if most := 16 * (1 + strings.Count(in, "\n")); tries > most {
			t.Errorf("%.60q was tried %d times, want at most %d", in, tries, most)
		}
	}
}

// Limits are kept to the byte, and to the field.
func TestLimits(t *testing.T) {
	head := func(n int) string {
		const begin, end = "GET / HTTP/1.1\r\nHost: a\r\nX: ", "\r\n\r\n"
		return begin + strings.Repeat("a", n-len(begin)-len(end)) + end
	}
	for _, c := range []struct {
		claim, in string
		l         Limits
		want      error
	}{
		{"a head of the limit", head(16 << 10), Limits{}, nil},
		{"a head of one more", head(16<<10 + 1), Limits{}, &rules[headLong]},
		{"a short limit", head(100), Limits{Head: 100}, nil},
		{"a short limit and one more", head(101), Limits{Head: 100}, &rules[headLong]},
		{"a body behind a head of the limit", head(100) + "body", Limits{Head: 100}, nil},
		{"half a head at the limit", head(200)[:100], Limits{Head: 100}, &rules[headLong]},
		{"half a head below the limit", head(200)[:99], Limits{Head: 100}, ErrShort},
		{"a head above all limits", head(2 << 20), Limits{Head: 4 << 20}, &rules[headLong]},
		{"a target of the limit", "GET /234 HTTP/1.1\r\nHost: a\r\n\r\n", Limits{Target: 4}, nil},
		{"a target of one more", "GET /2345 HTTP/1.1\r\nHost: a\r\n\r\n", Limits{Target: 4}, &rules[targetLong]},
		{"fields of the limit", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n", Limits{Fields: 2}, nil},
		{"one field more", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nX", Limits{Fields: 2}, &rules[tooManyFields]},
		{"nothing", "", Limits{}, ErrShort},
	} {
		var r Request
		if err := r.Parse([]byte(c.in), c.l); err != c.want {
			t.Errorf("%s: %v, want %v", c.claim, err, c.want)
		}
	}
}

// Reading takes nothing from the heap, whatever comes.
func TestNoAllocation(t *testing.T) {
	type message struct {
		in []byte
		p  parser
	}
	var all []message
	everyMessage(func(in string, p func() parser) { all = append(all, message{[]byte(in), p()}) })
	chunks := []byte("5;x=y\r\nhello\r\n0\r\nX: 1\r\nHost: a\r\n\r\n")
	var c Chunks
	all[0].p.Parse(all[0].in, Limits{}) // grows Fields; each parser of its own below
	round := func() {
		for _, m := range all {
			if m.p.Parse(m.in, Limits{}) == ErrShort {
				t.Fatal("short")
			}
		}
		c.Reset()
		for in := chunks; !c.Done(); {
			_, n, err := c.Next(in)
			if err != nil {
				t.Fatal(err)
			}
			in = in[n:]
		}
		for name := range c.Trailers {
			if string(name) != "X" {
				t.Fatalf("trailer %q", name)
			}
		}
	}
	round()
	if n := testing.AllocsPerRun(10, round); n != 0 {
		t.Errorf("%v allocations for all messages, want none", n)
	}
}
