// Command serve shows the dashboard on a platform that is not there, for whoever works
// on the page and for its browser test: go run ./internal/door/dash/dashtest/serve
// [-listen 127.0.0.1:7071] [-system shop]. Its first line of output is the login link.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"stoa/internal/door/dash/dashtest"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address")
	system := flag.String("system", "shop", strings.Join(dashtest.Systems(), ", "))
	flag.Parse()
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("http://%s/#login=%s\n", l.Addr(), dashtest.Token)
	server := &http.Server{Handler: dashtest.New(*system), ReadHeaderTimeout: 5 * time.Second}
	fmt.Fprintln(os.Stderr, server.Serve(l))
	os.Exit(1)
}
