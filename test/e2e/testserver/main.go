// Command testserver is the service that the end-to-end tests run: plain HTTP/1.1 and
// HTTP/2 without TLS on $PORT, drained on SIGTERM.
//
//	GET  /readyz      200 once it is ready ($READY_AFTER after its start)
//	GET  /            $ANSWER, and the id of the process
//	ANY  /slow?ms=N   the same after N milliseconds
//	GET  /sse?n=N     N server-sent events, 20 ms apart
//	POST /echo        the body as it comes, piece by piece, and the trailer X-Sum: bytes
//	GET  /call/NAME/  what service NAME answers at /, called at $NAME_URL once the file of ?until=FILE is there
//	GET  /upgrade     switches to the protocol "echo": every byte comes back
//	GET  /websocket   a WebSocket on which every message comes back
//	GET  /events      server-sent events: what is posted there
//	ANY  /via/NAME/X  what service NAME answers at /X, called at $NAME_ADDR, streamed or upgraded
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	began := time.Now()
	wait, _ := time.ParseDuration(os.Getenv("READY_AFTER"))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if time.Since(began) < wait {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /{$}", answer)
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		ms, _ := strconv.Atoi(r.FormValue("ms"))
		select {
		case <-time.After(time.Duration(ms) * time.Millisecond):
			answer(w, r)
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("GET /sse", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("n"))
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range n {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	})
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Trailer", "X-Sum")
		_ = http.NewResponseController(w).Flush() // the caller waits for the head before it sends
		buf, sum := make([]byte, 4096), 0
		for {
			n, err := r.Body.Read(buf)
			sum += n
			_, _ = w.Write(buf[:n])
			_ = http.NewResponseController(w).Flush()
			if err != nil {
				break
			}
		}
		w.Header().Set("X-Sum", strconv.Itoa(sum))
	})
	mux.HandleFunc("GET /call/{name}/", func(w http.ResponseWriter, r *http.Request) {
		if f := r.FormValue("until"); f != "" {
			fmt.Println("waits for", f)
			for _, err := os.Stat(f); err != nil && r.Context().Err() == nil; _, err = os.Stat(f) {
				time.Sleep(10 * time.Millisecond)
			}
		}
		req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, os.Getenv(strings.ToUpper(r.PathValue("name"))+"_URL")+"/", nil)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		req.Header.Set("Traceparent", r.Header.Get("Traceparent"))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	})
	mux.HandleFunc("GET /upgrade", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "echo" {
			http.Error(w, "want Upgrade: echo", http.StatusUpgradeRequired)
			return
		}
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer c.Close()
		fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = rw.Flush()
		_, _ = bufio.NewReader(rw).WriteTo(c)
	})
	mux.HandleFunc("GET /websocket", websocket)
	hub := &events{audience: map[chan string]bool{}}
	mux.HandleFunc("GET /events", hub.listen)
	mux.HandleFunc("POST /events", hub.post)
	mux.HandleFunc("/via/{name}/{path...}", via)
	server := &http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT"), Handler: mux}
	server.Protocols = new(http.Protocols)
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	done := make(chan struct{})
	context.AfterFunc(ctx, func() {
		_ = server.Shutdown(context.Background())
		close(done)
	})
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	<-done
}

func answer(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %d\n", os.Getenv("ANSWER"), os.Getpid())
}
