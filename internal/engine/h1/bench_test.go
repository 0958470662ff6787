package h1

import (
	"bytes"
	"strings"
	"testing"
)

const (
	smallHead = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	// bigHead is what a browser sends, of 640 bytes.
	bigHead = "GET /orders/0af7651916cd43dd/items?page=2&size=50 HTTP/1.1\r\n" +
		"Host: shop.example.com\r\n" +
		"Connection: keep-alive\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n" +
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n" +
		"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
		"Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n" +
		"Referer: https://shop.example.com/orders\r\n" +
		"Cookie: session=5f2b1c0d9e8a7b6c5d4e3f2a1b0c9d8e; theme=dark; seen=1\r\n" +
		"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n" +
		"If-None-Match: \"5f2b1c0d9e8a7b6c5d4e3f2a1b0c9d8e1\"\r\n" +
		"X-Request-Id: 7d9f3c1e\r\n\r\n"
	answerHead = "HTTP/1.1 200 OK\r\n" +
		"Date: Tue, 24 Nov 2026 14:35:45 GMT\r\n" +
		"Content-Type: application/json\r\n" +
		"Content-Length: 100\r\n" +
		"Server: orders\r\n\r\n"
)

func BenchmarkRequest(b *testing.B) {
	for _, c := range []struct{ name, head string }{{"small", smallHead}, {"640", bigHead}} {
		b.Run(c.name, func(b *testing.B) {
			in := append(make([]byte, 0, 16<<10), c.head...)
			var r Request
			b.ReportAllocs()
			b.SetBytes(int64(len(in)))
			for b.Loop() {
				if err := r.Parse(in, Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkResponse(b *testing.B) {
	in := append(make([]byte, 0, 16<<10), answerHead...)
	var r Response
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		if err := r.Parse(in, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkChunks(b *testing.B) {
	for _, c := range []struct {
		name string
		size int
	}{{"100B", 100}, {"16KB", 16 << 10}} {
		b.Run(c.name, func(b *testing.B) {
			in := chunked(strings.Repeat("x", c.size), 8<<10)
			var t Chunks
			b.ReportAllocs()
			b.SetBytes(int64(len(in)))
			for b.Loop() {
				t.Reset()
				if pass, n, err := t.Next(in); n != len(in) || len(pass) != n || err != nil || !t.Done() {
					b.Fatal(n, err)
				}
			}
		})
	}
}

// BenchmarkDrip feeds the longest head a byte at a time: it must cost a few times what
// one piece costs, and not grow with the square.
func BenchmarkDrip(b *testing.B) {
	in := []byte("GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", 16000) + "\r\n\r\n")
	var r Request
	b.ReportAllocs()
	for b.Loop() {
		for n := 1; n <= len(in); n++ {
			if err := r.Parse(in[:n], Limits{}); (err == nil) != (n == len(in)) {
				b.Fatal(n, err)
			}
		}
	}
}

// chunked gives data in chunks of at most size bytes, with the last chunk.
func chunked(data string, size int) []byte {
	var out bytes.Buffer
	for len(data) > 0 {
		n := min(size, len(data))
		out.WriteString(hexOf(n) + "\r\n" + data[:n] + "\r\n")
		data = data[n:]
	}
	out.WriteString("0\r\n\r\n")
	return out.Bytes()
}

func hexOf(n int) string {
	s := ""
	for ; n > 0 || s == ""; n >>= 4 {
		s = string("0123456789abcdef"[n&15]) + s
	}
	return s
}
