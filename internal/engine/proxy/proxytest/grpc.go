package proxytest

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
)

// frame is a gRPC message: one byte of flags, four of length.
func frame(s string) []byte {
	b := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(s)))
	return append(b, s...)
}

func readFrame(r io.Reader) (string, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", err
	}
	b := make([]byte, binary.BigEndian.Uint32(head[1:]))
	_, err := io.ReadFull(r, b)
	return string(b), err
}

// testGRPC speaks gRPC by hand over HTTP/2 in clear text.
func testGRPC(t *testing.T, open func(proxy.Options) Engine) {
	call := func(t *testing.T, addr, method string, body io.Reader) *http.Response {
		t.Helper()
		req, _ := http.NewRequest("POST", "http://"+addr+method, body)
		req.Header.Set("Content-Type", "application/grpc")
		req.Header.Set("TE", "trailers")
		resp, err := client(t, true).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	service := func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		w.Header().Set("Content-Type", "application/grpc")
		switch r.URL.Path {
		case "/svc/Echo": // bidirectional
			if r.ProtoMajor != 2 || r.Header.Get("Te") != "trailers" {
				w.Header().Set("Grpc-Message", fmt.Sprintf("came as %s, te %q", r.Proto, r.Header.Get("Te")))
			}
			w.WriteHeader(200)
			c.Flush()
			for {
				m, err := readFrame(r.Body)
				if err != nil {
					break
				}
				w.Write(frame("echo " + m))
				c.Flush()
			}
			w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
		case "/svc/Fail": // trailers only
			w.Header().Set("Grpc-Status", "5")
			w.Header().Set("Grpc-Message", "no such thing")
			w.WriteHeader(200)
		case "/svc/Late": // an error after a message
			w.Write(frame("one"))
			w.Header().Set(http.TrailerPrefix+"Grpc-Status", "13")
		}
	}
	t.Run("streaming both ways with status in trailers", func(t *testing.T) {
		b := newBench(t, open, protocol(snapshot.H2C))
		b.serve(service)
		body, send := io.Pipe()
		resp := call(t, b.mesh, "/svc/Echo", body)
		for i := range 10 {
			m := strings.Repeat("m", i*7000)
			go send.Write(frame(m))
			got, err := readFrame(resp.Body)
			if err != nil || got != "echo "+m {
				t.Fatalf("message %d came back as %d bytes, %v", i, len(got), err)
			}
		}
		send.Close()
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
			t.Errorf("the end: %q, %v", rest, err)
		}
		if resp.Trailer.Get("Grpc-Status") != "0" || resp.Header.Get("Grpc-Message") != "" {
			t.Errorf("trailer %v, header %v", resp.Trailer, resp.Header)
		}
		b.waitHop("the stream", func(r hop.Record) bool { return r.GRPC == 0 && r.Class() == "2xx" && r.In > 100000 && r.Out > 100000 })
	})
	t.Run("errors of the service", func(t *testing.T) {
		b := newBench(t, open, protocol(snapshot.H2C))
		b.serve(service)
		resp := call(t, b.mesh, "/svc/Fail", nil)
		io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != 200 || resp.Header.Get("Grpc-Status")+resp.Trailer.Get("Grpc-Status") != "5" {
			t.Errorf("trailers-only: %d, header %v, trailer %v", resp.StatusCode, resp.Header, resp.Trailer)
		}
		b.waitHop("status 5", func(r hop.Record) bool { return r.GRPC == 5 && r.Class() == "4xx" && !r.Failed() })
		resp = call(t, b.mesh, "/svc/Late", nil)
		if m, err := readFrame(resp.Body); err != nil || m != "one" {
			t.Errorf("message %q, %v", m, err)
		}
		io.Copy(io.Discard, resp.Body)
		if resp.Trailer.Get("Grpc-Status") != "13" {
			t.Errorf("late: trailer %v", resp.Trailer)
		}
		b.waitHop("status 13", func(r hop.Record) bool { return r.GRPC == 13 && r.Failed() })
	})
	t.Run("errors of the proxy are trailers-only", func(t *testing.T) {
		b := newBench(t, open, protocol(snapshot.H2C), upstream(func(u *snapshot.Upstream) { u.Hold = -1 }))
		resp := call(t, b.mesh, "/svc/Echo", nil)
		n, _ := io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != 200 || n != 0 || resp.Header.Get("Grpc-Status") != "14" || resp.Header.Get("Stoa-Reason") != "no-endpoint" ||
			!strings.Contains(resp.Header.Get("Grpc-Message"), "svc") {
			t.Errorf("%d, %d bytes, %v", resp.StatusCode, n, resp.Header)
		}
		b.waitHop("the refusal", func(r hop.Record) bool { return r.GRPC == 14 && r.Reason == hop.NoEndpoint && r.Failed() })
	})
}
