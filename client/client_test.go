package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stoa/api/fault"
	"stoa/api/op"
	"stoa/client"
)

type in struct {
	N int `json:"n"`
}

type out struct {
	Error string `json:"error,omitempty"`
	N     int    `json:"n,omitempty"`
}

var (
	readOp  = op.Op[in, out]{Name: "read"}
	writeOp = op.Op[in, out]{Name: "write", Effect: op.Write}
)

func dial(t *testing.T, h http.HandlerFunc, o client.Options) *client.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c, err := client.New(srv.URL, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// A connection that breaks is harmless for a read; a change may have happened.
func TestBrokenConnection(t *testing.T) {
	var asked atomic.Int32
	c := dial(t, func(w http.ResponseWriter, r *http.Request) { asked.Add(1); panic(http.ErrAbortHandler) }, client.Options{})
	_, err := client.Call(t.Context(), c, readOp, in{})
	if !fault.Is(err, fault.Unavailable) || client.Unreachable(err) {
		t.Errorf("a read: got %v of kind %q, want unavailable, but reached", err, fault.KindOf(err))
	}
	asked.Store(0)
	_, err = client.Call(t.Context(), c, writeOp, in{})
	if !fault.Is(err, fault.Unknown) {
		t.Errorf("a change: got %v of kind %q, want unknown", err, fault.KindOf(err))
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the change was sent %d times", n)
	}
}

func TestTimeRunsOut(t *testing.T) {
	hold := make(chan struct{})
	c := dial(t, func(w http.ResponseWriter, r *http.Request) { <-hold }, client.Options{})
	defer close(hold)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := client.Call(ctx, c, writeOp, in{}); !fault.Is(err, fault.Unknown) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v of kind %q, want unknown", err, fault.KindOf(err))
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err := client.Call(ctx, c, writeOp, in{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
}

// A platform that hangs makes nobody wait for ever, unless it was asked for a change.
func TestQuestionsAreBounded(t *testing.T) {
	hangs := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	_, err := client.Call(t.Context(), dial(t, hangs, client.Options{Answer: 20 * time.Millisecond}), readOp, in{})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer in time") || fault.HintOf(err) == "" {
		t.Errorf("got %v, want that there was no answer in time, and a hint", err)
	}
}

func TestNotStoa(t *testing.T) {
	for _, h := range []http.HandlerFunc{
		http.NotFound,
		func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") },
		func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(502); io.WriteString(w, "bad gateway") },
	} {
		if _, err := client.Call(t.Context(), dial(t, h, client.Options{}), readOp, in{}); !fault.Is(err, fault.Internal) {
			t.Errorf("got %v of kind %q, want internal", err, fault.KindOf(err))
		}
	}
	if _, err := client.New("ftp://x", client.Options{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("an address of another scheme: got %v", err)
	}
}

// What a stream's lines mean.
func TestStreamLines(t *testing.T) {
	long := strings.Repeat("9", 200<<10)
	for _, c := range []struct {
		name, body string
		abort      bool
		items      int
		want       fault.Kind
	}{
		{"items and signs of life", "{\"n\":1}\n\n\n{\"n\":2}\n\n", false, 2, ""},
		{"nothing", "", false, 0, ""},
		{"a fault at the end", "{\"n\":1}\n{\"error\":{\"kind\":\"exhausted\",\"message\":\"full\"}}\n", false, 1, fault.Exhausted},
		{"nothing counts after a fault", "{\"error\":{\"kind\":\"denied\"}}\n{\"n\":1}\n", false, 0, fault.Denied},
		{"an item with an error of its own", "{\"error\":\"its own\",\"n\":1}\n{\"error\":\"only\"}\n", false, 2, ""},
		{"a long item", "{\"error\":\"" + long + "\"}\n{\"n\":1}\n", false, 2, ""},
		{"broken off between items", "{\"n\":1}\n", true, 1, fault.Unavailable},
		{"broken off inside an item", "{\"n\":1}\n{\"n\":", false, 1, fault.Unavailable},
		{"no JSON", "{\"n\":1}\nxx\n", false, 1, fault.Internal},
	} {
		cl := dial(t, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, c.body)
			http.NewResponseController(w).Flush()
			if c.abort {
				panic(http.ErrAbortHandler)
			}
		}, client.Options{})
		seq, err := client.Follow(t.Context(), cl, readOp, in{})
		if err != nil {
			t.Fatal(err)
		}
		items, last := 0, error(nil)
		for _, err := range seq {
			if last = err; err == nil {
				items++
			}
		}
		if items != c.items || fault.KindOf(last) != c.want {
			t.Errorf("%s: got %d items and %v, want %d and kind %q", c.name, items, last, c.items, c.want)
		}
	}
}

// A platform that hangs is given up; one that only has nothing to say is not.
func TestSilentStream(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	alive := func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		for range 40 {
			io.WriteString(w, "\n")
			rc.Flush()
			select {
			case <-time.After(10 * time.Millisecond): // a server's keepalive, not a wait for something
			case <-r.Context().Done():
				return
			}
		}
		io.WriteString(w, "{\"n\":1}\n")
	}
	silent := func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).Flush()
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}
	for name, c := range map[string]struct {
		h     http.HandlerFunc
		idle  time.Duration
		items int
		want  fault.Kind
	}{"alive": {alive, 10 * time.Second, 1, ""}, "silent": {silent, 50 * time.Millisecond, 0, fault.Unavailable}} {
		seq, err := client.Follow(t.Context(), dial(t, c.h, client.Options{Idle: c.idle}), readOp, in{})
		items := 0
		if err == nil {
			for _, e := range seq {
				if err = e; e == nil {
					items++
				}
			}
		}
		if items != c.items || fault.KindOf(err) != c.want {
			t.Errorf("%s: got %d items and %v, want %d and kind %q", name, items, err, c.items, c.want)
		}
	}
}

// A socket that somebody else may have put there is not talked to.
func TestUntrustedSocket(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "stoa-c")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "a.sock")
	ask := func() error {
		c, err := client.New(path, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = client.Call(t.Context(), c, readOp, in{})
		return err
	}
	if err := ask(); !client.Unreachable(err) || !strings.Contains(err.Error(), "no platform runs here") {
		t.Errorf("nothing there: got %v", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"n":7}`) })}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	if err := ask(); err != nil {
		t.Errorf("our own: got %v", err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := ask(); !client.Unreachable(err) || !fault.Is(err, fault.Denied) {
		t.Errorf("in a folder that others write to: got %v, want denied", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 { // only root can give a file away
		if err := os.Chown(path, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		if err := ask(); !client.Unreachable(err) || !strings.Contains(err.Error(), "belongs to user 65534") {
			t.Errorf("another's: got %v, want refused", err)
		}
	}
}

// One data folder has one socket, whatever way it is written, and before it is made.
func TestSocketPath(t *testing.T) {
	run, dir := t.TempDir(), t.TempDir()
	env := func(k string) string { return map[string]string{"XDG_RUNTIME_DIR": run}[k] }
	path := func(data string) string {
		p, err := client.SocketPath(data, env)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	data := filepath.Join(dir, "data")
	before := path(data)
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(data, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, same := range []string{data, data + "/", filepath.Join(dir, "link"), dir + "/./x/../data"} {
		if got := path(same); got != before {
			t.Errorf("%s: got %s, want %s", same, got, before)
		}
	}
	if path(dir) == before {
		t.Error("two folders have one socket")
	}
	if len(run) < 70 && !strings.HasPrefix(before, run+"/stoa/") {
		t.Errorf("got %s, want it in %s", before, run)
	}
	long := t.TempDir() + "/" + strings.Repeat("x", 80)
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, x := range []string{"", "relative", "/nonexistent/run", long} {
		p, err := client.SocketPath(data, func(k string) string { return map[string]string{"XDG_RUNTIME_DIR": x}[k] })
		if err != nil || !strings.HasPrefix(p, fmt.Sprintf("/tmp/stoa-%d/", os.Getuid())) || len(p) > client.MaxSocketPath {
			t.Errorf("XDG_RUNTIME_DIR=%s: got %s, %v", x, p, err)
		}
	}
	own := func(k string) string { return map[string]string{"XDG_RUNTIME_DIR": run, client.EnvRuntime: dir}[k] }
	if p, err := client.FindSocket(data, own); err != nil || filepath.Dir(p) != dir {
		t.Errorf("with a folder for sockets: got %s, %v, want it in %s", p, err, dir)
	}
}
