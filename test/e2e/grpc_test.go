package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"stoa/api/workload"
)

// buildInShop builds a package of the shop's module; files are laid over it, by their
// paths in the module.
func buildInShop(t *testing.T, pkg string, files map[string]string) (bin string) {
	t.Helper()
	shop, err := filepath.Abs("../../examples/shop")
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	for to, from := range files {
		if replace[filepath.Join(shop, to)], err = filepath.Abs(from); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, "overlay.json", string(overlay))
	bin = filepath.Join(dir, filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", bin, pkg)
	cmd.Dir, cmd.Env = shop, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	return bin
}

// The client and the server of the gRPC library talk through gateway and mesh: unary, as
// a stream, with errors; over replacements on one connection; and a client is told that
// the service was stopped.
func TestGRPCLibrary(t *testing.T) {
	t.Parallel()
	server := buildInShop(t, "./inventory", nil)
	ask := buildInShop(t, "./grpcask", map[string]string{"grpcask/main.go": "testdata/grpcask/main.go"})
	dir := t.TempDir()
	write(t, dir, "stoa.yaml", fmt.Sprintf(`kind: System
name: warehouse
---
kind: Service
name: inventory
run: {command: [%s]}
listen: [{env: PORT, protocol: h2c}]
expose: [{path: /shop.warehouse.v1.Inventory}, {path: /grpc.health.v1.Health}]
stores: [{name: stock, engine: sqlite}]
health: {ready: grpc}
---
kind: Service
name: front
run: {command: [%s]}
uses: [{service: inventory}]
health: {ready: /readyz}
`, server, serverBin))
	p := prepare(t)
	p.start("dev", dir, "--no-watch")
	p.ready()
	gateway := strings.TrimPrefix(p.gateway, "http://")
	const want = "stock none-such 0\nstream SERVING\nno such method Unimplemented\n"
	outside := func(args ...string) string {
		out, _ := exec.Command(ask, append([]string{gateway}, args...)...).Output()
		return string(out)
	}
	if got := outside(); got != want {
		t.Errorf("through the gateway: %q, want %q", got, want)
	}
	if got, _, _ := p.stoa("run", "front", "--", "sh", "-c", "exec "+ask+" $INVENTORY_ADDR"); got != want {
		t.Errorf("through the mesh: %q, want %q", got, want)
	}

	t.Run("replaced under calls on one connection", func(t *testing.T) {
		gate := filepath.Join(t.TempDir(), "gate")
		calls := exec.Command(ask, gateway, gate)
		var out output
		calls.Stdout = &out
		if err := calls.Start(); err != nil {
			t.Fatal(err)
		}
		defer calls.Process.Kill()
		until(t, "calls have begun", func() bool { return strings.Contains(out.String(), "began") })
		for range 3 {
			old := pids(service(t, p.ready(), "inventory"))
			p.must("restart", "inventory")
			until(t, "it was replaced", func() bool {
				s, ok := p.status()
				if !ok {
					return false
				}
				v := service(t, s, "inventory")
				for pid := range pids(v) {
					if old[pid] {
						return false
					}
				}
				return v.State == workload.StateReady
			})
		}
		write(t, filepath.Dir(gate), "gate", "")
		if err := calls.Wait(); err != nil {
			t.Errorf("a call failed: %s", &out)
		}
		t.Log(&out)
	})

	p.must("stop", "inventory")
	until(t, "it has ended", func() bool {
		s, ok := p.status()
		return ok && len(service(t, s, "inventory").Instances) == 0
	})
	if got, want := outside(), "error Unavailable: inventory was stopped. To start it: stoa start inventory\n"; got != want {
		t.Errorf("while it is stopped: %q, want %q", got, want)
	}
	p.must("start", "inventory")
	until(t, "it is called again, as if nothing had been", func() bool { return outside() == want })
}
