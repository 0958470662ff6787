package proxy

import (
	"net/http"
	"strconv"

	"stoa/internal/engine/flow"
)

// refuse writes f as the answer, as far as the caller is to know.
func (x *exchange) refuse(w http.ResponseWriter, r *http.Request, f *flow.Refusal) {
	a := x.Refuse(f, r.Header.Get("Content-Type"), r.Header.Get("Accept"))
	h := w.Header()
	clear(h)
	for _, field := range a.Fields {
		h.Add(field[0], field[1])
	}
	if a.Body != nil {
		h.Set("Content-Length", strconv.Itoa(len(a.Body)))
	}
	if x.shut {
		h.Set("Connection", "close")
	}
	w.WriteHeader(a.Status)
	if a.Body != nil && r.Method != http.MethodHead {
		n, _ := w.Write(a.Body)
		x.Rec.Out += int64(n)
	}
}
