package proxytest

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"stoa/internal/engine/h2/hpack"
	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
)

// The frames of HTTP/2 that a service written by hand reads and writes.
const (
	h2Data, h2Headers, h2Reset, h2Settings, h2GoAway, h2Window = 0, 1, 3, 4, 7, 8
	h2End, h2EndHead                                           = 1, 4
)

// rawH2 is a connection of a service of HTTP/2 written by hand.
type rawH2 struct {
	*rawConn
	enc hpack.Encoder
}

func newRawH2(c *rawConn, settings ...uint32) *rawH2 {
	io.ReadFull(c.in, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
	h := &rawH2{rawConn: c}
	var b []byte
	for i := 0; i < len(settings); i += 2 {
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, uint16(settings[i])), settings[i+1])
	}
	h.write(h2Settings, 0, 0, b)
	return h
}

func (h *rawH2) write(kind, flags byte, id uint32, p []byte) {
	b := append([]byte{byte(len(p) >> 16), byte(len(p) >> 8), byte(len(p)), kind, flags}, 0, 0, 0, 0)
	binary.BigEndian.PutUint32(b[5:], id)
	h.Write(append(b, p...))
}

// read gives the next frame; kind 255 is the end.
func (h *rawH2) read() (kind, flags byte, id uint32, p []byte) {
	var b [9]byte
	if _, err := io.ReadFull(h.in, b[:]); err != nil {
		return 255, 0, 0, nil
	}
	p = make([]byte, int(b[0])<<16|int(b[1])<<8|int(b[2]))
	if _, err := io.ReadFull(h.in, p); err != nil {
		return 255, 0, 0, nil
	}
	return b[3], b[4], binary.BigEndian.Uint32(b[5:]), p
}

// request reads until a request has come whole, and gives its stream; 0 at the end.
func (h *rawH2) request() uint32 {
	for {
		kind, flags, id, p := h.read()
		switch {
		case kind == 255:
			return 0
		case kind == h2Settings && flags == 0:
			h.write(h2Settings, 1, 0, nil)
		case kind == h2Data && len(p) > 0:
			b := binary.BigEndian.AppendUint32(nil, uint32(len(p)))
			h.write(h2Window, 0, 0, b)
			h.write(h2Window, 0, id, b)
		}
		if (kind == h2Headers || kind == h2Data) && flags&h2End != 0 {
			return id
		}
	}
}

func (h *rawH2) head(id uint32, end bool, fields ...string) {
	b := h.enc.Begin(nil)
	for i := 0; i < len(fields); i += 2 {
		b = h.enc.Append(b, []byte(fields[i]), []byte(fields[i+1]), hpack.Index)
	}
	flags := byte(h2EndHead)
	if end {
		flags |= h2End
	}
	h.write(h2Headers, flags, id, b)
}

// testHTTP2: what is said in frames, and has no word in HTTP/1.1.
func testHTTP2(t *testing.T, open func(proxy.Options) Engine) {
	code := func(c uint32) []byte { return binary.BigEndian.AppendUint32(nil, c) }
	for name, refuse := range map[string]func(h *rawH2, id uint32){
		"a refused stream": func(h *rawH2, id uint32) { h.write(h2Reset, 0, id, code(7)) },
		"a stream above the last of GOAWAY": func(h *rawH2, id uint32) {
			h.write(h2GoAway, 0, 0, append(code(0), code(0)...))
		},
	} {
		for _, method := range []string{"GET", "POST"} {
			t.Run(name+" is sent again, "+method, func(t *testing.T) {
				b := newBench(t, open, protocol(snapshot.H2C))
				var refused atomic.Bool
				b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "a", Address: rawServer(t, func(c *rawConn) {
					h := newRawH2(c)
					for id := h.request(); id != 0; id = h.request() {
						if refused.CompareAndSwap(false, true) {
							refuse(h, id)
							continue
						}
						h.head(id, true, ":status", "204")
					}
				})}})
				req, _ := http.NewRequest(method, "http://"+b.mesh+"/", nil)
				resp, err := client(t, true).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != 204 {
					t.Errorf("status %d, want 204", resp.StatusCode)
				}
			})
		}
	}
	t.Run("an answer that ends before the request", func(t *testing.T) {
		b := newBench(t, open, protocol(snapshot.H2C))
		b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "a", Address: rawServer(t, func(c *rawConn) {
			h := newRawH2(c)
			for {
				kind, flags, id, _ := h.read()
				switch {
				case kind == 255:
					return
				case kind == h2Settings && flags == 0:
					h.write(h2Settings, 1, 0, nil)
				case kind == h2Headers: // as gRPC's servers refuse a call
					h.head(id, false, ":status", "200", "content-type", "application/grpc")
					h.head(id, true, "grpc-status", "8", "grpc-message", "no room")
					h.write(h2Reset, 0, id, code(0))
				}
			}
		})}})
		body, send := io.Pipe()
		defer send.Close()
		go send.Write(frame(strings.Repeat("m", 1<<20)))
		req, _ := http.NewRequest("POST", "http://"+b.mesh+"/svc/Put", body)
		req.Header.Set("Content-Type", "application/grpc")
		req.Header.Set("TE", "trailers")
		resp, err := client(t, true).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || resp.Trailer.Get("Grpc-Status") != "8" {
			t.Errorf("status %d, trailer %v; want grpc-status 8", resp.StatusCode, resp.Trailer)
		}
		b.waitHop("the refusal", func(r hop.Record) bool { return r.GRPC == 8 && r.Reason == "" })
	})
	t.Run("a service that takes one stream gets one", func(t *testing.T) {
		b := newBench(t, open, protocol(snapshot.H2C))
		b.SetEndpoints("svc", []snapshot.Endpoint{{ID: "a", Address: rawServer(t, func(c *rawConn) {
			h := newRawH2(c, 3, 1)
			settled := false
			for {
				kind, flags, id, _ := h.read()
				switch {
				case kind == 255:
					return
				case kind == h2Settings && flags == 0:
					h.write(h2Settings, 1, 0, nil)
				case kind == h2Settings:
					settled = true
				case kind == h2Headers && !settled: // it does not know yet
					h.write(h2Reset, 0, id, code(7))
				case kind == h2Headers:
					if h.in.Buffered() >= 9 {
						if next, _ := h.in.Peek(4); next[3] == h2Headers {
							t.Error("a second stream beside the first")
						}
					}
					h.head(id, true, ":status", "204")
				}
			}
		})}})
		c := client(t, true)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				resp, err := c.Get("http://" + b.mesh + "/")
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				if resp.StatusCode != 204 {
					t.Errorf("status %d", resp.StatusCode)
				}
			})
		}
		wg.Wait()
	})
	t.Run("what is in flight ends when its listener does", func(t *testing.T) {
		for _, proto := range []snapshot.Protocol{snapshot.HTTP1, snapshot.H2C} {
			b := newBench(t, open, protocol(proto))
			began, end := make(chan bool), make(chan bool)
			b.serve(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/slow" {
					began <- true
					<-end
				}
				fmt.Fprint(w, "done")
			})
			addr, release, err := b.Bind("web>svc")
			if err != nil {
				t.Fatal(err)
			}
			got := make(chan string, 1)
			go func() {
				resp, err := client(t, true).Get("http://" + addr + "/slow")
				if err != nil {
					got <- err.Error()
					return
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				got <- fmt.Sprint(resp.StatusCode, string(body), err)
			}()
			<-began
			released := make(chan bool)
			go func() { release(); close(released) }()
			eventually(t, "the listener takes nothing new", func() bool {
				resp, err := client(t, false).Get("http://" + addr + "/")
				if err == nil {
					resp.Body.Close()
				}
				return err != nil
			})
			close(end)
			if s := <-got; s != "200done<nil>" {
				t.Errorf("%s: the request in flight: %s", proto, s)
			}
			<-released
		}
	})
	t.Run("fields that HTTP/1.1 has once are joined, and back", func(t *testing.T) {
		b := newBench(t, open)
		b.serve(func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
			fmt.Fprintf(w, "%q %d %s", r.Header["Cookie"], r.ContentLength, r.Host)
		})
		req, _ := http.NewRequest("POST", "http://"+b.mesh+"/", strings.NewReader("body"))
		req.Header["Cookie"] = []string{"a=1; b=2; c=3"} // a client of HTTP/2 may send them one by one
		req.Host = "svc.test"
		resp, err := client(t, true).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		if string(body) != `["a=1; b=2; c=3"] 4 svc.test` || len(resp.Header["Set-Cookie"]) != 2 {
			t.Errorf("the service saw %s, the caller %q", body, resp.Header["Set-Cookie"])
		}
	})
}
