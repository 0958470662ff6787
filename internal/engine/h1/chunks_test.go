package h1

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// readChunks reads in in the pieces of the given sizes, over and over, and gives what
// would be sent on, the data, and what stood behind the body.
func readChunks(c *Chunks, in []byte, sizes ...int) (pass, rest []byte, err error) {
	for i := 0; len(in) > 0 && !c.Done(); i++ {
		piece := append([]byte(nil), in[:min(sizes[i%len(sizes)], len(in))]...)
		for len(piece) > 0 && !c.Done() {
			p, n, err := c.Next(piece)
			pass = append(pass, p...)
			in, piece = in[n:], piece[n:]
			if err != nil {
				return pass, in, err
			}
		}
		clear(piece)
	}
	return pass, in, nil
}

func readData(c *Chunks, in []byte, size int) (d, rest []byte, err error) {
	for len(in) > 0 && !c.Done() {
		p, n, err := c.NextData(in[:min(size, len(in))])
		d = append(d, p...)
		if in = in[n:]; err != nil {
			return d, in, err
		}
	}
	return d, in, nil
}

func (c *Chunks) say() string {
	s := ""
	for name, value := range c.Trailers {
		s += fmt.Sprintf("%s=%s;", name, value)
	}
	return s
}

func TestChunks(t *testing.T) {
	for _, c := range []struct{ claim, in, pass, data, trailers string }{
		{"nothing", "0\r\n\r\n", "0\r\n\r\n", "", ""},
		{"one chunk", "5\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "hello", ""},
		{"two chunks", "5\r\nhello\r\n1\r\n \r\n0\r\n\r\n", "5\r\nhello\r\n1\r\n \r\n0\r\n\r\n", "hello ", ""},
		{"zeros before a size", "000000000000005\r\nhello\r\n000\r\n\r\n", "000000000000005\r\nhello\r\n000\r\n\r\n", "hello", ""},
		{"hexadecimal in both cases", "a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n", "a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n", "01234567890123456789a", ""},
		{"data that looks like framing", "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", "\r\n0\r\n\r\n", ""},
		{"extensions are dropped", "5;a=b\r\nhello\r\n0;x;y=\"z\"\t\xff\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "hello", ""},
		{"trailers", "0\r\nX: 1 \r\ngrpc-status:0\r\nX: 2\r\n\r\n", "0\r\nX: 1 \r\ngrpc-status:0\r\nX: 2\r\n\r\n", "", "X=1;grpc-status=0;X=2;"},
		{"trailers that frame, route, identify or are of this hop are dropped",
			"1\r\nx\r\n0\r\nContent-Length: 5\r\nHost: b\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\nX_Forwarded_For: 1\r\nstoa-caller: 1\r\nConnection: X-A\r\nTE: x\r\nKeep-Alive: 1\r\nUpgrade: h2c\r\nAuthorization: b\r\nSet-Cookie: c\r\ntraceparent: d\r\nTrailer: X\r\nContent-Type: e\r\n\r\n",
			"1\r\nx\r\n0\r\nX-A: 1\r\n\r\n", "x", "X-A=1;"},
		{"all trailers dropped", "0\r\nHost: b\r\n\r\n", "0\r\n\r\n", "", ""},
	} {
		const behind = "GET / HTTP/1.1\r\n"
		in := []byte(c.in + behind)
		for size := 1; size <= len(in); size++ {
			var k Chunks
			pass, rest, err := readChunks(&k, in, size)
			if string(pass) != c.pass || string(rest) != behind || err != nil || !k.Done() || k.say() != c.trailers || k.Data() != int64(len(c.data)) {
				t.Fatalf("%s in pieces of %d: %q, rest %q, %v, done %v, trailers %s, %d bytes of data", c.claim, size, pass, rest, err, k.Done(), k.say(), k.Data())
			}
			if section := string(k.TrailerSection()); !strings.HasSuffix(c.pass, section+"\r\n") || strings.Count(section, "\n") != strings.Count(c.trailers, ";") {
				t.Errorf("%s: trailer section %q, want %s", c.claim, section, c.trailers)
			}
			k.Reset()
			d, rest, err := readData(&k, in, size)
			if string(d) != c.data || string(rest) != behind || err != nil || !k.Done() || k.say() != c.trailers {
				t.Fatalf("%s, data in pieces of %d: %q, rest %q, %v, done %v, trailers %s", c.claim, size, d, rest, err, k.Done(), k.say())
			}
		}
	}
}

// A body without extensions and trailers is passed on in one piece.
func TestChunksPassWhole(t *testing.T) {
	in := chunked(strings.Repeat("x", 10_000), 7)
	var c Chunks
	if pass, n, err := c.Next(in); !bytes.Equal(pass, in) || n != len(in) || err != nil || &pass[0] != &in[0] {
		t.Errorf("%d of %d bytes consumed, %d passed, %v", n, len(in), len(pass), err)
	}
	if pass, n, err := c.Next([]byte("more")); len(pass) != 0 || n != 0 || err != nil {
		t.Errorf("behind the end: %q, %d, %v", pass, n, err)
	}
}

var refusedChunks = []struct {
	claim, in string
	want      rule
	pass      int // bytes before the fault that are passed on
}{
	{"no size", "\r\nhello\r\n", badChunkSize, 0},
	{"a size that is an extension", ";a=b\r\n\r\n", badChunkSize, 0},
	{"0x", "0x5\r\nhello\r\n0\r\n\r\n", badChunkSize, 0},
	{"a plus", "+5\r\nhello\r\n0\r\n\r\n", badChunkSize, 0},
	{"a minus", "-5\r\nhello\r\n0\r\n\r\n", badChunkSize, 0},
	{"an underscore", "1_0\r\nhello\r\n0\r\n\r\n", badChunkSize, 0},
	{"a space before a size", " 5\r\nhello\r\n0\r\n\r\n", badChunkSize, 0},
	{"a space behind a size", "5 \r\nhello\r\n0\r\n\r\n", badChunkSize, 0},
	{"a tab behind a size", "5\t\r\nhello\r\n0\r\n\r\n", badChunkSize, 0},
	{"a space before an extension", "5 ;a\r\nhello\r\n0\r\n\r\n", badChunkSize, 0},
	{"no hexadecimal", "g\r\nhello\r\n0\r\n\r\n", badChunkSize, 0},
	{"a NUL in a size", "5\x00\r\nhello\r\n0\r\n\r\n", badChunkSize, 0},
	{"a point", "5.0\r\nhello\r\n0\r\n\r\n", badChunkSize, 0},
	{"16 digits", "0000000000000005\r\nhello\r\n0\r\n\r\n", chunkSizeLong, 0},
	{"2^64", "10000000000000005\r\nhello\r\n0\r\n\r\n", chunkSizeLong, 0},
	{"LF behind a size", "5\nhello\r\n0\r\n\r\n", bareLF, 0},
	{"CR behind a size", "5\rhello\r\n0\r\n\r\n", bareCR, 2},
	{"LF behind an extension", "5;a\nhello\r\n0\r\n\r\n", bareLF, 1},
	{"CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n", bareCR, 2},
	{"NUL in an extension", "5;a\x00\r\nhello\r\n0\r\n\r\n", controlByte, 1},
	{"a long extension", "5;" + strings.Repeat("a", 4<<10) + "\r\nhello\r\n0\r\n\r\n", extensionLong, 1},
	{"many extensions", strings.Repeat("1;"+strings.Repeat("a", 1<<10)+"\r\nx\r\n", 5), extensionLong, 6*3 + 1},
	{"data longer than its size", "4\r\nhello\r\n0\r\n\r\n", badChunkEnd, 7},
	{"data shorter than its size", "6\r\nhello\r\n0\r\n\r\n", badChunkEnd, 9},
	{"LF behind data", "5\r\nhello\n0\r\n\r\n", badChunkEnd, 8},
	{"CR behind data", "5\r\nhello\r0\r\n\r\n", badChunkEnd, 9},
	{"no CRLF behind data", "5\r\nhello0\r\n\r\n", badChunkEnd, 8},
	{"LF behind the last size", "0\n\r\n", bareLF, 0},
	{"LF ends the body", "0\r\n\n", bareLF, 3},
	{"CR ends the body", "0\r\n\rX", bareCR, 4},
	{"a trailer without colon", "0\r\nX\r\n\r\n", noColon, 3},
	{"a trailer with a space before the colon", "0\r\nX : 1\r\n\r\n", spaceBeforeColon, 3},
	{"a folded trailer", "0\r\nX: 1\r\n 2\r\n\r\n", obsFold, 3},
	{"a trailer section that begins with a space", "0\r\n X: 1\r\n\r\n", firstLineSpace, 3},
	{"LF in a trailer", "0\r\nX: 1\nY: 2\r\n\r\n", bareLF, 3},
	{"CR in a trailer", "0\r\nX: 1\rY: 2\r\n\r\n", bareCR, 3},
	{"NUL in a trailer", "0\r\nX: \x00\r\n\r\n", controlByte, 3},
	{"Content_Length in a trailer", "0\r\nContent_Length: 1\r\n\r\n", underscoreFraming, 3},
	{"a long trailer", "0\r\nX: " + strings.Repeat("a", 8<<10) + "\r\n\r\n", trailerLong, 3},
	{"many trailers", "0\r\n" + strings.Repeat("X: 1\r\n", 65) + "\r\n", trailerLong, 3},
}

// A body that breaks a rule is refused at the same byte however it is cut, and stays refused.
func TestRefusedChunks(t *testing.T) {
	for _, c := range refusedChunks {
		in := []byte(c.in)
		for _, answer := range []bool{false, true} {
			want := rules[c.want]
			if answer {
				want.Status = 502
			}
			for size := 1; size <= len(in); size += 1 + len(in)/100 {
				k := Chunks{Answer: answer}
				pass, _, err := readChunks(&k, in, size)
				var e *Error
				if !errors.As(err, &e) || *e != want || k.Done() {
					t.Fatalf("%s: %.80q in pieces of %d gave %v, want %v", c.claim, in, size, err, want.Text)
				}
				if _, n, again := k.Next([]byte("0\r\n\r\n")); again != err || n != 0 {
					t.Fatalf("%s: then %v", c.claim, again)
				}
				if size == len(in) && len(pass) < c.pass {
					t.Fatalf("%s: passed %q, want at least %d bytes", c.claim, pass, c.pass)
				}
				k.Reset()
				if _, _, err := readData(&k, in, size); err == nil || err.Error() != want.Text {
					t.Fatalf("%s: data of %.80q in pieces of %d gave %v", c.claim, in, size, err)
				}
			}
		}
	}
}

func TestTrailerByID(t *testing.T) {
	var c Chunks
	in := []byte("0\r\nGrpc-Status: 14\r\nHost: a\r\n\r\n")
	if _, _, err := c.NextData(in); err != nil || string(c.Trailer(GRPCStatus)) != "14" || c.Trailer(GRPCMessage) != nil || c.Trailer(Host) != nil {
		t.Errorf("%v, grpc-status %q, Host %q", err, c.Trailer(GRPCStatus), c.Trailer(Host))
	}
	c.Reset()
	if c.Trailer(GRPCStatus) != nil || c.say() != "" || c.TrailerSection() != nil {
		t.Error("trailers stay after Reset")
	}
}
