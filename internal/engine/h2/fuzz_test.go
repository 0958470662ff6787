package h2

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// FuzzServer feeds bytes to a connection: whatever they are, it ends when they do, its handlers
// end, and no more than its bounds is held.
func FuzzServer(f *testing.F) {
	seed := func(write func(fr *http2.Framer, block func(...string) []byte)) {
		var out, hb bytes.Buffer
		enc := hpack.NewEncoder(&hb)
		fr := http2.NewFramer(&out, nil)
		fr.AllowIllegalWrites = true
		fr.WriteSettings()
		write(fr, func(fields ...string) []byte {
			hb.Reset()
			for i := 0; i < len(fields); i += 2 {
				enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
			}
			return hb.Bytes()
		})
		f.Add(out.Bytes())
	}
	get := []string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "svc"}
	seed(func(fr *http2.Framer, block func(...string) []byte) {
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(get...), EndHeaders: true, EndStream: true})
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: block(get...), EndHeaders: true})
		fr.WriteData(3, false, []byte("data"))
		fr.WriteDataPadded(3, false, []byte("data"), make([]byte, 3))
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: block("x-sum", "1"), EndHeaders: true, EndStream: true})
		fr.WriteWindowUpdate(0, 100)
		fr.WriteWindowUpdate(3, 100)
		fr.WritePing(false, [8]byte{})
		fr.WriteRSTStream(1, http2.ErrCodeCancel)
		fr.WriteGoAway(0, http2.ErrCodeNo, nil)
	})
	seed(func(fr *http2.Framer, block func(...string) []byte) {
		b := block(append(get, "content-length", "4", "te", "trailers")...)
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:4]})
		fr.WriteContinuation(1, true, b[4:])
		fr.WriteData(1, true, []byte("four"))
		fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
		fr.WritePriority(5, http2.PriorityParam{StreamDep: 1})
		fr.WriteRawFrame(0xcc, 0xff, 7, []byte("?"))
	})
	f.Fuzz(func(t *testing.T, in []byte) {
		ours, theirs := net.Pipe()
		srv := NewServer(Config{Window: 64 << 10, First: time.Minute, Stall: time.Second}, echo)
		defer srv.Close()
		srv.Serve(ours, nil, []byte(Preface), 1)
		done := make(chan struct{})
		var came int64
		go func() {
			defer close(done)
			came, _ = io.Copy(io.Discard, theirs)
		}()
		theirs.SetWriteDeadline(time.Now().Add(patience))
		theirs.Write(in)
		theirs.Close()
		srv.mu.Lock()
		n := len(srv.conns)
		srv.mu.Unlock()
		for deadline := time.Now().Add(patience); n > 0; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatal("the connection does not end")
			}
			srv.mu.Lock()
			n = len(srv.conns)
			srv.mu.Unlock()
		}
		<-done
		if most := int64(10*len(in) + 1000); came > most {
			t.Errorf("%d bytes in answer to %d", came, len(in))
		}
	})
}
