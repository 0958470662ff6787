package main

import (
	"fmt"
	"io"
	"net/http"
	"sync"
)

// events passes what is posted on to everybody who listens, as server-sent events.
type events struct {
	mu       sync.Mutex
	audience map[chan string]bool // guarded by mu
}

// post says to how many it was sent.
func (e *events) post(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(io.LimitReader(r.Body, 1<<10))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	sent := 0
	for c := range e.audience {
		select {
		case c <- string(text):
			sent++
		default: // slow
		}
	}
	fmt.Fprintln(w, sent)
}

func (e *events) listen(w http.ResponseWriter, r *http.Request) {
	c := make(chan string, 64)
	e.mu.Lock()
	e.audience[c] = true
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.audience, c)
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, ": welcome\n\n")
	_ = http.NewResponseController(w).Flush()
	for {
		select {
		case text := <-c:
			fmt.Fprintf(w, "data: %s\n\n", text)
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			return
		}
	}
}
