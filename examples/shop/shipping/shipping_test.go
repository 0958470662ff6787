// Package shipping_test holds the service in Node.js to its contract. The rest of this
// folder is JavaScript.
package shipping_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"example.com/shop/internal/contract"
)

// start runs the service and returns its address and what stops it and gives its exit.
func start(t *testing.T) (base string, stop func() error) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("node is not installed: shipping cannot be tested")
		}
		t.Skip("node is not installed: shipping is not tested here")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") // a port that was free a moment ago
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	cmd := exec.Command(node, "server.js")
	cmd.Env = append(os.Environ(), fmt.Sprintf("PORT=%d", port), "DAY_SECONDS=20")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { cmd.Process.Kill() })

	base = fmt.Sprintf("http://127.0.0.1:%d", port)
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if res, err := http.Get(base + "/readyz"); err == nil {
			res.Body.Close()
			if res.StatusCode == 200 {
				break
			}
		}
		select {
		case err := <-ended:
			t.Fatalf("node ended before it was ready: %v", err)
		case <-deadline:
			t.Fatal("node was not ready within 30 s")
		case <-tick.C:
		}
	}
	return base, func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		return <-ended
	}
}

func request(order, method, country string) string {
	return fmt.Sprintf(`{"orderId":%q,"method":%q,"country":%q,"grams":520,"handedIn":"2026-01-31T12:00:00.000Z"}`, order, method, country)
}

// The service gives what openapi.yaml promises, the same number for the same parcel,
// and ends by itself when it is told to.
func TestContract(t *testing.T) {
	base, stop := start(t)
	c := contract.Dial(t, "openapi.yaml", base)
	c.Do(200, "GET", "/rates?country=GR&grams=1200", "")
	c.Do(200, "GET", "/rates?country=US", "")
	c.Do(422, "GET", "/rates?country=XX", "")
	c.Do(422, "GET", "/rates?country=GR&grams=many", "")

	number := c.Do(201, "POST", "/shipments", request("o1", "standard", "GR")).Text("trackingNumber")
	if again := c.Do(201, "POST", "/shipments", request("o1", "standard", "GR")).Text("trackingNumber"); again != number {
		t.Errorf("the same request: %s and %s, want one tracking number", number, again)
	}
	if other := c.Do(201, "POST", "/shipments", request("o2", "standard", "GR")).Text("trackingNumber"); other == number {
		t.Errorf("another order has the tracking number %s too", number)
	}
	c.Do(400, "POST", "/shipments", `{"orderId":`)
	c.Do(422, "POST", "/shipments", request("", "by pigeon", "XX"))

	var parcel struct {
		Status string
		Events []struct{ At time.Time }
	}
	if err := json.Unmarshal(c.Do(200, "GET", "/shipments/"+number, "").Body, &parcel); err != nil {
		t.Fatal(err)
	}
	if parcel.Status != "delivered" || len(parcel.Events) != 5 {
		t.Errorf("a parcel of long ago is %s after %d events, want delivered after 5", parcel.Status, len(parcel.Events))
	}
	c.Do(404, "GET", "/shipments/nonsense", "")
	mistyped := []byte(number)
	mistyped[10] = map[bool]byte{true: 'b', false: 'a'}[mistyped[10] == 'a']
	c.Do(404, "GET", "/shipments/"+string(mistyped), "")
	c.Done()

	if err := stop(); err != nil {
		t.Errorf("after SIGTERM: %v, want exit 0", err)
	}
}
