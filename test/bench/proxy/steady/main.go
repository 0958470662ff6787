// Command steady sends HTTP/1.1 requests at a constant rate, whatever comes back, and tells
// how long each took from the moment at which it was due. A server that stalls is thus
// charged with every request that had to wait for it, not only with the one it stalled
// (coordinated omission). It writes one JSON object.
//
//	steady -addr 127.0.0.1:8080 -path /100 -rate 4000 -conns 64 -time 10s
//
// One thread does all: a timer descriptor says when the next request is due, epoll which
// answers are there. Go's own timers wait in whole milliseconds, which is ten times what is
// measured. A request goes to the connection that has been idle for longest; if none is, it
// waits and its clock runs.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"
)

// report is what is written. Times are in microseconds.
type report struct {
	Rate     int     `json:"rate"`
	Requests int     `json:"requests"` // answered, after the warm-up
	Errors   int     `json:"errors"`   // other than 2xx, broken connections, never answered
	Error    string  `json:"error,omitempty"`
	P50      float64 `json:"p50"`
	P90      float64 `json:"p90"`
	P99      float64 `json:"p99"`
	P999     float64 `json:"p999"`
	Max      float64 `json:"max"`
	LateP99  float64 `json:"lateP99"` // by how much a request left after it was due: what the generator itself adds
}

func main() {
	addr := flag.String("addr", "", "host:port, IPv4")
	path := flag.String("path", "/", "what to ask for")
	rate := flag.Int("rate", 1000, "requests a second")
	conns := flag.Int("conns", 64, "connections")
	span := flag.Duration("time", 10*time.Second, "how long it counts")
	warm := flag.Duration("warm", time.Second, "how long it sends before it counts")
	flag.Parse()
	// One collection would cost more than what is measured; what is allocated is bounded by rate and time.
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	l, err := dial(*addr, *path, *conns)
	if err == nil {
		err = l.run(*rate, *warm, *span)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "steady:", err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(l.report(*rate)); err != nil {
		fmt.Fprintln(os.Stderr, "steady:", err)
		os.Exit(1)
	}
}

func (l *loop) report(rate int) report {
	r := report{Rate: rate, Requests: len(l.took), Errors: l.errors, Error: l.lastError}
	slices.Sort(l.took)
	slices.Sort(l.late)
	r.P50, r.P90, r.P99, r.P999, r.Max = quantile(l.took, 0.5), quantile(l.took, 0.9), quantile(l.took, 0.99), quantile(l.took, 0.999), quantile(l.took, 1)
	r.LateP99 = quantile(l.late, 0.99)
	return r
}

// quantile of sorted nanoseconds, in microseconds.
func quantile(v []int64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	return float64(v[min(len(v)-1, int(q*float64(len(v))))]) / 1000
}
