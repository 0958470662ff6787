package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"
)

// templates is where the configurations of peers are.
var templates = filepath.Join("bench", "proxy", "peers")

// places are the addresses of one proxy and its back ends; templates are filled with it.
type places struct {
	Dir                      string
	Plain, TLS, GRPC         int // the proxy: HTTP/1.1, TLS, HTTP/2 in clear text
	Metrics                  int
	WebA, WebB, EchoA, EchoB int // the endpoints
	Count, EchoCount         int // how many requests they have answered
	Hundred, Thousand        string
	Fast                     bool // a variant of a peer
}

// A peer is a proxy that is measured, Stoa among them.
type peer struct {
	name     string
	what     string            // for the page: what is on
	program  func() string     // the path, empty if it is not there
	files    map[string]string // template -> file it becomes in the peer's folder
	args     func(at places) []string
	version  func(program string) string
	fast     bool // the variant of its template
	oneClear bool // HTTP/1.1 and HTTP/2 in clear text are told apart on one port

	at places
	p  *process
}

var defaultPeers = []string{"stoa", "haproxy", "nginx", "goproxy", "caddy", "traefik"}

// stoaPrefix is what the names of Stoa's variants begin with.
const stoaPrefix = "stoa"

func allPeers() []*peer {
	stoa := func(name string, extra ...string) *peer {
		return &peer{name: name, oneClear: true, what: "trace context and X-Forwarded-For, P2C, meters, traces, rates, access lines (1,000/s)",
			program: ours("stoanode"), version: func(string) string { return "this tree" },
			args: func(at places) []string {
				return append([]string{"-plain", local(at.Plain), "-tls", local(at.TLS)}, append(goArgs(at), extra...)...)
			}}
	}
	nginx := inPath("nginx", "/usr/sbin/nginx")
	return []*peer{
		stoa("stoa"), stoa("stoa-portable", "-engine", "portable"),
		{name: "haproxy", what: "unique id and X-Forwarded-For, random(2), prometheus exporter",
			program: inPath("haproxy", "/usr/sbin/haproxy"), version: firstLine("-v"),
			files: map[string]string{"haproxy.cfg": "haproxy.cfg"},
			args:  func(at places) []string { return []string{"-f", filepath.Join(at.Dir, "haproxy.cfg")} }},
		{name: "nginx", what: "request id and X-Forwarded-For, random two, stub_status",
			program: nginx, version: firstLine("-v"),
			files: map[string]string{"nginx.conf": "nginx.conf"},
			args: func(at places) []string {
				return []string{"-p", at.Dir, "-e", filepath.Join(at.Dir, "nginx.log"), "-c", filepath.Join(at.Dir, "nginx.conf")}
			}},
		{name: "goproxy", what: "net/http/httputil.ReverseProxy: request id and X-Forwarded-For, P2C, meters",
			program: ours("goproxy"), version: func(string) string { return goVersion() },
			args: func(at places) []string {
				return append([]string{"-plain", local(at.Plain), "-tls", local(at.TLS), "-grpc", local(at.GRPC)}, goArgs(at)...)
			}},
		{name: "caddy", what: "request id and X-Forwarded-For, random_choose 2, metrics",
			program: built("caddy"), version: pinnedVersion("caddy"),
			files: map[string]string{"Caddyfile": "Caddyfile"},
			args: func(at places) []string {
				return []string{"run", "--adapter", "caddyfile", "--config", filepath.Join(at.Dir, "Caddyfile")}
			}},
		{name: "traefik", what: "a fixed id and X-Forwarded-For, p2c, prometheus metrics",
			program: built("traefik"), version: pinnedVersion("traefik"),
			files: map[string]string{"traefik.yml": "traefik.yml", "traefik-routes.yml": "traefik-routes.yml"},
			args:  func(at places) []string { return []string{"--configFile=" + filepath.Join(at.Dir, "traefik.yml")} }},
		{name: "traefik-fast", what: "the same with its experimental fast proxy", fast: true,
			program: built("traefik"), version: pinnedVersion("traefik"),
			files: map[string]string{"traefik.yml": "traefik.yml", "traefik-routes.yml": "traefik-routes.yml"},
			args:  func(at places) []string { return []string{"--configFile=" + filepath.Join(at.Dir, "traefik.yml")} }},
	}
}

// choosePeers finds the peers of a comma-separated list.
func choosePeers(list string) (peers []*peer, err error) {
	names := defaultPeers
	if list != "" {
		names = strings.Split(list, ",")
	}
	all := allPeers()
	for _, name := range names {
		i := slices.IndexFunc(all, func(p *peer) bool { return p.name == name })
		if i < 0 {
			var known []string
			for _, p := range all {
				known = append(known, p.name)
			}
			return nil, fmt.Errorf("-peers %s: want some of %s", name, strings.Join(known, ","))
		}
		peers = append(peers, all[i])
	}
	return peers, nil
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// goArgs are the flags that stoanode and goproxy have in common.
func goArgs(at places) []string {
	return []string{"-metrics", local(at.Metrics), "-cert", filepath.Join(at.Dir, "cert.pem"), "-key", filepath.Join(at.Dir, "key.pem"),
		"-web-a", local(at.WebA), "-web-b", local(at.WebB), "-echo-a", local(at.EchoA), "-echo-b", local(at.EchoB)}
}

// ours finds a program of this folder, beside this one.
func ours(name string) func() string {
	return func() string {
		self, err := os.Executable()
		if err != nil {
			return ""
		}
		return existing(filepath.Join(filepath.Dir(self), name))
	}
}

// inPath finds a program of the system; system folders are not in everybody's path.
func inPath(name, usual string) func() string {
	return func() string {
		if p, err := exec.LookPath(name); err == nil {
			return p
		}
		return existing(usual)
	}
}

func existing(path string) string {
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

func firstLine(arg string) func(string) string {
	return func(program string) string {
		b, err := exec.Command(program, arg).CombinedOutput()
		if err != nil {
			return err.Error()
		}
		line, _, _ := strings.Cut(string(b), "\n")
		if i := strings.Index(line, " - http"); i > 0 {
			line = line[:i]
		}
		return line
	}
}

// start starts the peer and waits until it listens.
func (p *peer) start(core int) error {
	if err := os.MkdirAll(p.at.Dir, 0o755); err != nil {
		return err
	}
	for from, to := range p.files {
		if err := fill(from, filepath.Join(p.at.Dir, to), p.at); err != nil {
			return err
		}
	}
	// Its home is its folder, so that it finds nothing of the user's and leaves nothing there.
	env := []string{"HOME=" + p.at.Dir, "XDG_CONFIG_HOME=" + p.at.Dir, "XDG_DATA_HOME=" + p.at.Dir}
	var err error
	if p.p, err = launch(p.name, p.at.Dir, core, env, p.program(), p.args(p.at)...); err != nil {
		return err
	}
	if err := p.p.answers(p.at.Plain, p.at.TLS, p.at.GRPC, p.at.Metrics); err != nil {
		return err
	}
	// One that listens may not know its routes yet (Traefik).
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		clients, err := open(p.at.Plain, 1)
		closeAll(clients)
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// port is where the cell's requests go.
func (p *peer) port(c cell) int {
	switch c.proto {
	case "tls", "h2":
		return p.at.TLS
	case "grpc":
		return p.at.GRPC
	}
	return p.at.Plain
}

// fill makes a configuration of a template.
func fill(from, to string, at places) error {
	t, err := template.ParseFiles(filepath.Join(templates, from))
	if err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	if err := t.Execute(f, at); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
