package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"stoa/api/telemetry"
)

// order is an order as the shop answers it.
type order struct {
	ID, Status, TraceID string
	Shipment            struct{ TrackingNumber string }
}

// place places an order with a card and gives the answer.
func place(t *testing.T, gateway, card string) (int, order) {
	t.Helper()
	body := `{"items":[{"sku":"candle","quantity":1}],"customer":{"name":"Thea Lykos","email":"thea@example.com"},` +
		`"address":{"street":"Odos Ermou 12","city":"Athens","postcode":"10563","country":"GR"},"delivery":"standard",` +
		`"card":{"number":"` + card + `","expiry":"12/39","cvc":"123"}}`
	resp, err := http.Post(gateway+"/api/orders", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var o order
	_ = json.Unmarshal(b, &o) // a refusal is another document
	return resp.StatusCode, o
}

// trace gives a trace once it has at least so many hops.
func (p *platform) trace(id string, hops int) (tr telemetry.Trace) {
	p.t.Helper()
	until(p.t, "the trace is whole", func() bool {
		out, _, code := p.stoa("trace", id, "--json")
		return code == 0 && json.Unmarshal([]byte(out), &tr) == nil && len(tr.Spans) >= hops
	})
	return tr
}

// The shop as it ships: an order is one trace through the contexts, a declined card
// undoes what was done, and each of its services that is killed under load comes back.
func TestShop(t *testing.T) {
	p := prepare(t)
	shop, err := filepath.Abs("../../examples/shop")
	if err != nil {
		t.Fatal(err)
	}
	p.start("dev", shop, "--no-watch")
	s := p.ready()

	t.Run("an order is one trace", func(t *testing.T) {
		code, o := place(t, p.gateway, "4242 4242 4242 4242")
		if code != http.StatusCreated || o.Status != "confirmed" || o.TraceID == "" || o.Shipment.TrackingNumber == "" {
			t.Fatalf("%d, %+v", code, o)
		}
		tr := p.trace(o.TraceID, 5)
		root := tr.Spans[0]
		if root.Depth != 0 || root.Caller != "" || root.Callee != "orders" || root.Status != http.StatusCreated {
			t.Errorf("the root is %+v", root)
		}
		called := map[string]telemetry.Span{}
		for _, sp := range tr.Spans[1:] {
			if sp.Caller != "orders" || sp.Depth != 1 || sp.ParentID != root.SpanID {
				t.Errorf("a hop that orders did not make below the root: %+v", sp)
			}
			called[sp.Callee] = sp
		}
		for _, callee := range []string{"inventory", "payments", "shipping"} {
			if _, ok := called[callee]; !ok {
				t.Errorf("%s is not in the trace: %+v", callee, tr.Spans)
			}
		}
		if g := called["inventory"]; g.GRPCStatus != "OK" || g.Protocol != "HTTP/2.0" {
			t.Errorf("inventory was not called by gRPC: %+v", g)
		}
	})
	t.Run("a declined card releases the stock", func(t *testing.T) {
		code, o := place(t, p.gateway, "4000 0000 0000 0002")
		if code != http.StatusPaymentRequired {
			t.Fatalf("%d, %+v", code, o)
		}
		var last telemetry.TracesOut
		until(t, "the stock was given back in the same trace", func() bool {
			if json.Unmarshal([]byte(p.must("traces", "--service", "payments", "--json")), &last) != nil || len(last.Traces) == 0 {
				return false
			}
			for _, sp := range p.trace(last.Traces[0].ID, 3).Spans {
				if strings.HasSuffix(sp.Path, "/ReleaseStock") && sp.GRPCStatus == "OK" {
					return true
				}
			}
			return false
		})
	})
	t.Run("every service comes back from kill -9 under load", func(t *testing.T) {
		l := begin(t, p.gateway+"/api/catalog/products", 20)
		l.reach(t, 200)
		kills := 0
		for _, v := range s.Services {
			for _, in := range v.Instances {
				if err := syscall.Kill(in.PID, syscall.SIGKILL); err != nil {
					t.Fatalf("%s: %v", v.Name, err)
				}
				kills++
			}
		}
		p.ready()
		l.reach(t, 200)
		l.stop()
		t.Logf("%d services killed: %s", kills, l)
		// One instance of catalog: what it held may fail, and what met its closing socket.
		if most := int64(2 * 20); l.failed.Load() > most {
			t.Errorf("%d requests failed, at most %d were held", l.failed.Load(), most)
		}
		until(t, "an order goes through again", func() bool {
			code, _ := place(t, p.gateway, "4242 4242 4242 4242")
			return code == http.StatusCreated
		})
	})
}
