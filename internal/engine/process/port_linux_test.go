package process_test

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"stoa/internal/engine/process"
)

// A server in a child listens on a held port, whichever address it takes.
func TestServersListenOnAHeldPort(t *testing.T) {
	dir := t.TempDir()
	node := filepath.Join(dir, "server.js")
	must(os.WriteFile(node, []byte(`const s = require("http").createServer((q, r) => r.end("ok"));
const at = process.env.ADDR.lastIndexOf(":");
s.listen(+process.env.ADDR.slice(at + 1), process.env.ADDR.slice(0, at).replace(/[\[\]]/g, ""), () => console.log("ready"));`), 0o600))
	python := filepath.Join(dir, "server.py")
	must(os.WriteFile(python, []byte(`import http.server, os, socket, sys
host, port = os.environ["ADDR"].rsplit(":", 1)
class S(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if "[" in host else socket.AF_INET
s = S((host.strip("[]"), int(port)), http.server.SimpleHTTPRequestHandler)
print("ready", flush=True)
s.serve_forever()`), 0o600))

	servers := map[string][]string{"go": {exe()}}
	for name, argv := range map[string][]string{"node": {"node", node}, "python3": {"python3", python}} {
		if path, err := exec.LookPath(name); err == nil {
			servers[name] = append([]string{path}, argv[1:]...)
		} else {
			t.Logf("not checked: %s is not on this machine", name)
		}
	}
	hosts := []string{"127.0.0.1", "0.0.0.0"}
	if l, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		l.Close()
		hosts = append(hosts, "[::]", "[::1]")
	}
	for name, argv := range servers {
		for i, host := range hosts {
			if name != "go" && i%2 == 1 && os.Getenv("STOA_LONG") == "" {
				continue // interpreters start slowly: half the addresses will do
			}
			t.Run(name+" on "+host, func(t *testing.T) {
				port, err := process.HoldPort()
				if err != nil {
					t.Fatal(err)
				}
				defer port.Release()
				var out output
				addr := fmt.Sprintf("%s:%d", host, port.Number())
				in, err := starter(t).Start(t.Context(), process.Spec{
					Argv: argv, Stdout: out.sink, Stderr: out.sink,
					Env: []string{"ROLE=listen", "ADDR=" + addr, "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")},
				})
				if err != nil {
					t.Fatal(err)
				}
				eventually(t, "the server says ready: "+out.String(), func() bool {
					select {
					case <-in.Done():
						t.Fatalf("the server %v: %s", in.Exit(), out.String())
					default:
					}
					return out.has("ready")
				})
				to := map[string]string{"0.0.0.0": "127.0.0.1", "[::]": "127.0.0.1"}[host]
				if to == "" {
					to = host
				}
				c, err := net.Dial("tcp", net.JoinHostPort(strings.Trim(to, "[]"), strconv.Itoa(port.Number())))
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
				got := in.Listening()
				// Go takes 0.0.0.0 for [::] where there is IPv6.
				want := netip.MustParseAddrPort(addr)
				if len(got) != 1 || got[0].Addr.Port() != want.Port() ||
					got[0].Addr.Addr() != want.Addr() && !(got[0].Addr.Addr().IsUnspecified() && want.Addr().IsUnspecified()) {
					t.Errorf("listening is %v, want %s alone", got, addr)
				}
			})
		}
	}
	t.Logf("checked: servers of %v on %v", slices.Sorted(maps.Keys(servers)), hosts)
}

// The kernel gives a held port to nobody: neither to the next HoldPort nor to servers
// and clients that take any port.
func TestAHeldPortIsNotGivenAway(t *testing.T) {
	var files syscall.Rlimit
	must(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	n := int(min(5000, files.Cur/2))
	held := make(map[int]bool)
	for range n {
		p, err := process.HoldPort()
		if err != nil {
			t.Fatalf("after %d ports: %v", len(held), err)
		}
		defer p.Release()
		if held[p.Number()] {
			t.Fatalf("port %d was given twice", p.Number())
		}
		held[p.Number()] = true
	}
	for range 2000 {
		for _, addr := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::]:0"} {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				continue // a machine without IPv6
			}
			if port := l.Addr().(*net.TCPAddr).Port; held[port] {
				t.Fatalf("a server of any port got %d, which is held", port)
			}
			l.Close()
		}
	}
	server, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	defer server.Close()
	for range 2000 {
		c, err := net.Dial("tcp", server.Addr().String())
		must(err)
		if port := c.LocalAddr().(*net.TCPAddr).Port; held[port] {
			t.Fatalf("a client got %d, which is held", port)
		}
		c.Close()
		s, err := server.Accept()
		must(err)
		s.Close()
	}
}

func TestAReleasedPortIsFree(t *testing.T) {
	p, err := process.HoldPort()
	must(err)
	p.Release()
	p.Release()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p.Number()))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// What a program listens on is seen even when it is a grandchild that does.
func TestListeningSeesTheWholeTree(t *testing.T) {
	var out output
	in, err := starter(t).Start(t.Context(), process.Spec{
		Argv: []string{"/bin/sh", "-c", `"$EXE" & "$EXE" & wait`}, Stdout: out.sink,
		Env: []string{"EXE=" + exe(), "ROLE=listen", "ADDR=127.0.0.1:0"},
	})
	must(err)
	eventually(t, "two servers", func() bool { return out.String() == "ready\nready" })
	got := in.Listening()
	if len(got) != 2 || got[0].PID == in.Pid() || got[0].PID == got[1].PID || got[0].Addr.Port() >= got[1].Addr.Port() {
		t.Errorf("listening is %v, want two ports of two children of %d", got, in.Pid())
	}
	must(in.Stop(t.Context(), 0))
	if got := in.Listening(); got != nil {
		t.Errorf("listening is %v after the end, want nothing", got)
	}
}
