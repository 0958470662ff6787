package proxytest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"stoa/internal/engine/hop"
	"stoa/internal/engine/proxy"
	"stoa/internal/engine/snapshot"
)

// testCancel: who goes away is not worked for.
func testCancel(t *testing.T, open func(proxy.Options) Engine) {
	for _, proto := range []snapshot.Protocol{snapshot.HTTP1, snapshot.H2C} {
		for _, h2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("the service sees it, %s, client h2=%v", proto, h2), func(t *testing.T) {
				b := newBench(t, open, protocol(proto))
				began, ended := make(chan bool, 1), make(chan bool, 1)
				b.serve(func(w http.ResponseWriter, r *http.Request) {
					began <- true
					<-r.Context().Done()
					ended <- true
				})
				ctx, cancel := context.WithCancel(t.Context())
				req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+b.mesh+"/", nil)
				go func() { <-began; cancel() }()
				if _, err := client(t, h2).Do(req); !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				select {
				case <-ended:
				case <-time.After(patience):
					t.Fatal("the service goes on")
				}
				b.waitHop("the cancelled call", func(r hop.Record) bool {
					return r.Reason == hop.Cancelled && r.Class() == "cancelled" && !r.Failed()
				})
			})
		}
	}
	t.Run("a held call ends with its caller", func(t *testing.T) {
		b := newBench(t, open, upstream(func(u *snapshot.Upstream) { u.Hold = time.Hour }))
		c := dial(t, b.mesh)
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: svc\r\n\r\n")
		time.AfterFunc(30*time.Millisecond, func() { c.Close() })
		b.waitHop("the held call", func(r hop.Record) bool { return r.Reason == hop.Cancelled })
	})
}
