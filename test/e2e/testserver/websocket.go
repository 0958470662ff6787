package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
)

// websocket speaks RFC 6455 as a server: what comes as a message goes back as one, a ping
// is answered by a pong, a close by a close.
func websocket(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Sec-Websocket-Key")
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || r.Header.Get("Sec-Websocket-Version") != "13" || key == "" {
		http.Error(w, "want a WebSocket handshake", http.StatusBadRequest)
		return
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // section 4.2.2
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer c.Close()
	fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	if rw.Flush() == nil {
		_ = echoFrames(rw)
	}
}

// The opcodes of RFC 6455, section 5.2.
const (
	opContinue = 0x0
	opClose    = 0x8
	opPing     = 0x9
	opPong     = 0xA
)

// echoFrames sends each frame back unmasked, as the fragment that it was, until a close.
func echoFrames(rw *bufio.ReadWriter) error {
	for {
		var head [2]byte
		if _, err := io.ReadFull(rw, head[:]); err != nil {
			return err
		}
		op := head[0] & 0x0F
		if head[1]&0x80 == 0 {
			return errors.New("a frame of a client is not masked") // section 5.1
		}
		n := uint64(head[1] & 0x7F)
		switch n {
		case 126:
			var long [2]byte
			if _, err := io.ReadFull(rw, long[:]); err != nil {
				return err
			}
			n = uint64(binary.BigEndian.Uint16(long[:]))
		case 127:
			var long [8]byte
			if _, err := io.ReadFull(rw, long[:]); err != nil {
				return err
			}
			n = binary.BigEndian.Uint64(long[:])
		}
		if n > 1<<20 {
			return errors.New("a frame is larger than 1 MiB")
		}
		var mask [4]byte
		if _, err := io.ReadFull(rw, mask[:]); err != nil {
			return err
		}
		payload := make([]byte, n)
		if _, err := io.ReadFull(rw, payload); err != nil {
			return err
		}
		for i := range payload {
			payload[i] ^= mask[i%4]
		}
		back := head[0]
		if op == opPing {
			back = 0x80 | opPong
		}
		out := []byte{back}
		switch {
		case n < 126:
			out = append(out, byte(n))
		case n < 1<<16:
			out = binary.BigEndian.AppendUint16(append(out, 126), uint16(n))
		default:
			out = binary.BigEndian.AppendUint64(append(out, 127), n)
		}
		if _, err := rw.Write(append(out, payload...)); err != nil {
			return err
		}
		if err := rw.Flush(); err != nil {
			return err
		}
		if op == opClose {
			return nil
		}
	}
}

// via passes a request on to another service at $NAME_ADDR, and the answer back as it
// comes; an upgraded connection becomes a tunnel.
func via(w http.ResponseWriter, r *http.Request) {
	addr := os.Getenv(strings.ToUpper(r.PathValue("name")) + "_ADDR")
	if r.Header.Get("Upgrade") != "" {
		tunnelTo(w, r, addr)
		return
	}
	req, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+addr+"/"+r.PathValue("path")+"?"+r.URL.RawQuery, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	w.WriteHeader(resp.StatusCode)
	_ = http.NewResponseController(w).Flush()
	buf := make([]byte, 4096)
	for {
		n, err := resp.Body.Read(buf)
		_, _ = w.Write(buf[:n])
		_ = http.NewResponseController(w).Flush()
		if err != nil {
			return
		}
	}
}

func tunnelTo(w http.ResponseWriter, r *http.Request, addr string) {
	up, err := net.Dial("tcp", addr)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer up.Close()
	fmt.Fprintf(up, "GET /%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\n", r.PathValue("path"), r.PathValue("name"))
	for name, values := range r.Header {
		if name == "Upgrade" || strings.HasPrefix(name, "Sec-Websocket-") {
			fmt.Fprintf(up, "%s: %s\r\n", name, values[0])
		}
	}
	fmt.Fprint(up, "\r\n")
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer c.Close()
	go func() {
		_, _ = io.Copy(up, rw.Reader)
		_ = up.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(c, up)
}
