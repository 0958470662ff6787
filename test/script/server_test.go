package script

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"stoa/api/workload"
)

// serve is the program server, a service whose environment says how it behaves:
//
//	SAY        what it answers at /
//	LISTEN     the port it listens on instead of $PORT
//	UNREADY    never ready, if set
//	EXIT       ends at once with this code, having said why
//	SPILL      names a variable whose value it writes to its output
//
// It answers /env with its environment, /pid, /headers, and /call/VARIABLE with what is
// at the address in that variable. "server job" writes SAY to its output and to the file
// that the variable DIARY names, and ends.
func serve() {
	if name := os.Getenv("SPILL"); name != "" {
		fmt.Printf("the value is %s, in the middle of a line\n", os.Getenv(name))
		fmt.Fprintln(os.Stderr, os.Getenv(name))
	}
	if code := os.Getenv("EXIT"); code != "" {
		fmt.Fprintln(os.Stderr, "no database at db:5432: giving up")
		n := 0
		fmt.Sscan(code, &n)
		os.Exit(n)
	}
	if len(os.Args) > 1 && os.Args[1] == "job" {
		fmt.Println("job says", os.Getenv("SAY"))
		if f := os.Getenv("DIARY"); f != "" {
			w, err := os.OpenFile(f, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				fail(err)
			}
			fmt.Fprintln(w, os.Getenv("SAY"))
			w.Close()
		}
		if len(os.Args) > 2 {
			os.Exit(3)
		}
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if os.Getenv("UNREADY") != "" {
			http.Error(w, "the cache is cold", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, os.Getenv("SAY")) })
	mux.HandleFunc("GET /pid", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, os.Getpid()) })
	mux.HandleFunc("GET /env", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, strings.Join(os.Environ(), "\n")) })
	mux.HandleFunc("GET /headers", func(w http.ResponseWriter, r *http.Request) { _ = r.Header.Write(w) })
	mux.HandleFunc("GET /call/{variable}", func(w http.ResponseWriter, r *http.Request) {
		url := os.Getenv(r.PathValue("variable"))
		if !strings.HasPrefix(url, "http") {
			url = "http://" + url
		}
		resp, err := http.Get(url + "/" + r.FormValue("path"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	})
	port := os.Getenv("LISTEN")
	if port == "" {
		port = os.Getenv("PORT")
	}
	server := &http.Server{Addr: net.JoinHostPort("127.0.0.1", port), Handler: mux}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { _ = server.Shutdown(context.Background()) })
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		fail(err)
	}
}

// request is the program get: it asks the gateway of the platform in $STOA_DATA for a path
// and writes the status and the body, with -i the fields between them.
func request() {
	method := flag.String("X", http.MethodGet, "method")
	body := flag.String("d", "", "body")
	header := flag.String("H", "", "header, as NAME: VALUE")
	head := flag.Bool("i", false, "write the fields of the answer, too")
	root := flag.String("cacert", "", "file of a root to trust")
	flag.Parse()
	if *root != "" {
		pem, err := os.ReadFile(*root)
		if err != nil {
			fail(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		http.DefaultTransport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	out, err := exec.Command("stoa", "status", "--json").Output()
	var s workload.Status
	if err != nil || json.Unmarshal(out, &s) != nil || s.Gateway == "" {
		fmt.Fprintf(os.Stderr, "there is no gateway: %v %s\n", err, out)
		os.Exit(5)
	}
	req, err := http.NewRequest(*method, s.Gateway+flag.Arg(0), bytes.NewReader([]byte(*body)))
	if err != nil {
		fail(err)
	}
	if name, value, ok := strings.Cut(*header, ":"); ok {
		req.Header.Set(name, strings.TrimSpace(value))
	}
	c := http.Client{Timeout: time.Minute}
	resp, err := c.Do(req)
	if err != nil {
		fail(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode)
	if *head {
		for _, name := range slices.Sorted(maps.Keys(resp.Header)) {
			fmt.Printf("%s: %s\n", name, strings.Join(resp.Header[name], ", "))
		}
	}
	if _, err := io.Copy(os.Stdout, resp.Body); err != nil {
		fail(err)
	}
	fmt.Println()
	if resp.StatusCode >= 400 {
		os.Exit(1)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
