package proxytest

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
)

// testStreams: nothing waits in the proxy that could be on its way.
func testStreams(t *testing.T, open func(proxy.Options) Engine) {
	for _, proto := range []snapshot.Protocol{snapshot.HTTP1, snapshot.H2C} {
		for _, h2 := range []bool{false, true} {
			name := fmt.Sprintf(", %s, client h2=%v", proto, h2)
			t.Run("server-sent events leave one by one"+name, func(t *testing.T) {
				b := newBench(t, open, protocol(proto))
				next := make(chan int)
				b.serve(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "text/event-stream")
					http.NewResponseController(w).Flush()
					for n := range next {
						fmt.Fprintf(w, "data: %d\n\n", n)
						http.NewResponseController(w).Flush()
					}
				})
				resp, err := client(t, h2).Get("http://" + b.mesh + "/")
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				lines := bufio.NewReader(resp.Body)
				for n := range 5 {
					next <- n
					got, err := lines.ReadString('\n')
					if err != nil || got != fmt.Sprintf("data: %d\n", n) {
						t.Fatalf("event %d came as %q, %v", n, got, err)
					}
					lines.ReadString('\n')
				}
				close(next)
				if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
					t.Errorf("the end: %q, %v", rest, err)
				}
			})
			t.Run("both ways at once"+name, func(t *testing.T) {
				b := newBench(t, open, protocol(proto))
				b.serve(func(w http.ResponseWriter, r *http.Request) {
					c := http.NewResponseController(w)
					c.EnableFullDuplex()
					w.WriteHeader(200)
					c.Flush()
					in := bufio.NewReader(r.Body)
					for {
						s, err := in.ReadString('\n')
						if err != nil {
							return
						}
						fmt.Fprintf(w, "echo %s", s)
						c.Flush()
					}
				})
				body, send := io.Pipe()
				req, _ := http.NewRequest("POST", "http://"+b.mesh+"/", body)
				resp, err := client(t, h2).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				in := bufio.NewReader(resp.Body)
				for n := range 5 {
					fmt.Fprintf(send, "%d\n", n)
					if got, err := in.ReadString('\n'); err != nil || got != fmt.Sprintf("echo %d\n", n) {
						t.Fatalf("line %d came back as %q, %v", n, got, err)
					}
				}
				send.Close()
				if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
					t.Errorf("the end: %q, %v", rest, err)
				}
			})
			t.Run("trailers, announced or not"+name, func(t *testing.T) {
				b := newBench(t, open, protocol(proto))
				b.serve(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/announced" {
						w.Header().Set("Trailer", "X-Sum")
					}
					http.NewResponseController(w).EnableFullDuplex()
					io.Copy(w, r.Body)
					if r.URL.Path == "/announced" {
						w.Header().Set("X-Sum", "7")
					} else {
						w.Header().Set(http.TrailerPrefix+"X-Sum", "7")
					}
					http.NewResponseController(w).Flush()
				})
				for _, path := range []string{"/announced", "/surprise"} {
					for _, size := range []int{0, 5, 65535, 65536, 100000} {
						resp, err := client(t, h2).Post("http://"+b.mesh+path, "text/plain", strings.NewReader(strings.Repeat("x", size)))
						if err != nil {
							t.Fatal(err)
						}
						got, err := io.ReadAll(resp.Body)
						resp.Body.Close()
						if err != nil || len(got) != size || resp.Trailer.Get("X-Sum") != "7" {
							t.Errorf("%s of %d bytes: %d bytes, trailer %v, %v", path, size, len(got), resp.Trailer, err)
						}
					}
				}
			})
			t.Run("trailers of a request"+name, func(t *testing.T) {
				b := newBench(t, open, protocol(proto))
				b.serve(func(w http.ResponseWriter, r *http.Request) {
					io.Copy(io.Discard, r.Body)
					fmt.Fprint(w, r.Trailer.Get("X-Sum"))
				})
				req, _ := http.NewRequest("POST", "http://"+b.mesh+"/", io.MultiReader(strings.NewReader("body")))
				req.Trailer = http.Header{"X-Sum": {"7"}}
				resp, err := client(t, h2).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if got, _ := io.ReadAll(resp.Body); string(got) != "7" {
					t.Errorf("the service saw the trailer %q", got)
				}
			})
			t.Run("103 before the answer"+name, func(t *testing.T) {
				b := newBench(t, open, protocol(proto))
				b.serve(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Link", "</style.css>; rel=preload")
					w.WriteHeader(103)
					w.Header().Del("Link")
					io.WriteString(w, "ok")
				})
				var early []string
				req, _ := http.NewRequest("GET", "http://"+b.mesh+"/", nil)
				req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
					Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
						early = append(early, fmt.Sprint(code, h.Get("Link")))
						return nil
					}}))
				resp, err := client(t, h2).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if len(early) != 1 || early[0] != "103</style.css>; rel=preload" || resp.Header.Get("Link") != "" {
					t.Errorf("early answers %q, then Link %q", early, resp.Header.Get("Link"))
				}
			})
			t.Run("an answer that breaks off is seen to"+name, func(t *testing.T) {
				b := newBench(t, open, protocol(proto))
				b.serve(func(w http.ResponseWriter, r *http.Request) {
					io.WriteString(w, "half")
					http.NewResponseController(w).Flush()
					panic(http.ErrAbortHandler)
				})
				resp, err := client(t, h2).Get("http://" + b.mesh + "/")
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err == nil || string(got) != "half" {
					t.Errorf("read %q, %v; want half and an error", got, err)
				}
				b.waitHop("the truncated answer", func(r hop.Record) bool { return r.Reason == hop.Truncated && r.Out == 4 && r.Failed() })
			})
		}
	}
}
