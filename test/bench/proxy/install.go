package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// pinned are the peers that are built from Go modules. Traefik's stays below 3.7, whose
// module needs another that is not published.
var pinned = map[string]struct{ module, version, main string }{
	"caddy":   {"github.com/caddyserver/caddy/v2", "v2.11.9", "./cmd/caddy"},
	"traefik": {"github.com/traefik/traefik/v3", "v3.6.12", "./cmd/traefik"},
}

// cache is where programs of peers are kept between runs, outside the repository.
func cache() string {
	if dir := os.Getenv("STOA_BENCH_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "stoa-bench")
}

// builtPath is where a pinned program is, or will be.
func builtPath(name string) string {
	return filepath.Join(cache(), "bin", name+"-"+pinned[name].version)
}

func built(name string) func() string { return func() string { return existing(builtPath(name)) } }

// install installs what these peers, the load and the back end need and the machine has not.
func install(peers []*peer) error {
	var packages []string
	need := func(name, pkg string) {
		if inPath(name, "/usr/sbin/"+name)() == "" && !slices.Contains(packages, pkg) {
			packages = append(packages, pkg)
		}
	}
	need("wrk", "wrk")
	need("h2load", "nghttp2-client")
	need("nginx", "nginx-light") // the back end
	need("taskset", "util-linux")
	for _, p := range peers {
		if p.name == "haproxy" {
			need("haproxy", "haproxy")
		}
	}
	if len(packages) > 0 {
		if err := apt(packages); err != nil {
			return err
		}
	}
	for _, p := range peers {
		name := strings.TrimSuffix(p.name, "-fast")
		if _, ok := pinned[name]; ok && p.program() == "" {
			if err := build(name); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		if p.program() == "" {
			return fmt.Errorf("%s: no program; run it by bench/proxy/run", p.name)
		}
	}
	return nil
}

func apt(packages []string) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("missing %s, and there is no apt-get; install them and run again", strings.Join(packages, ", "))
	}
	fmt.Fprintln(os.Stderr, "installing", strings.Join(packages, " "))
	var sudo []string
	if os.Getuid() != 0 {
		sudo = []string{"sudo"}
	}
	// Packages of servers start them; run level 1 keeps them from it.
	env := []string{"env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get"}
	for _, args := range [][]string{{"update", "-qq"}, append([]string{"install", "-y", "-qq", "--no-install-recommends"}, packages...)} {
		line := slices.Concat(sudo, env, args)
		if out, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(line, " "), err, out)
		}
	}
	return nil
}

// build builds a pinned program from a copy of its module, so that the module's own
// replacements hold, which `go install` refuses.
func build(name string) error {
	pin := pinned[name]
	fmt.Fprintf(os.Stderr, "building %s %s; this takes minutes, once\n", name, pin.version)
	out, err := command("", "go", "mod", "download", "-json", pin.module+"@"+pin.version)
	if err != nil {
		return err
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(out, &m); err != nil || m.Dir == "" {
		return errors.Join(fmt.Errorf("the module is not there: %s", out), err)
	}
	if err := os.MkdirAll(filepath.Join(cache(), "bin"), 0o755); err != nil {
		return err
	}
	src, err := os.MkdirTemp(cache(), name)
	if err != nil {
		return err
	}
	defer os.RemoveAll(src)
	if err := os.CopyFS(src, os.DirFS(m.Dir)); err != nil {
		return err
	}
	_, err = command(src, "nice", "-n", "19", "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", builtPath(name), pin.main)
	return err
}

func command(dir, name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if dir == "" {
		cmd.Dir = os.TempDir() // outside our module
	}
	out, err := cmd.Output()
	var e *exec.ExitError
	if errors.As(err, &e) {
		err = fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, e.Stderr[max(0, len(e.Stderr)-4000):])
	}
	return out, err
}

// pinnedVersion is what a program that was built here is; Caddy cannot tell by itself.
func pinnedVersion(name string) func(string) string {
	return func(string) string { return name + " " + pinned[name].version + ", built with " + runtime.Version() }
}

func goVersion() string { return runtime.Version() }
