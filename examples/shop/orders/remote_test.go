package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"example.com/shop/internal/serve"
	"example.com/shop/orders/inventorypb"
)

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

type warehouse struct {
	inventorypb.UnimplementedInventoryServer
	trace []string
	short bool
}

func (w *warehouse) ReserveStock(ctx context.Context, r *inventorypb.ReserveStockRequest) (*inventorypb.ReserveStockResponse, error) {
	w.trace = metadata.ValueFromIncomingContext(ctx, "traceparent")
	if w.short {
		return &inventorypb.ReserveStockResponse{Short: []*inventorypb.Stock{{Sku: "bowl", Available: 1}}}, nil
	}
	return &inventorypb.ReserveStockResponse{Reserved: true}, nil
}

func TestInventoryOverGRPC(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &warehouse{}
	server := grpc.NewServer()
	inventorypb.RegisterInventoryServer(server, w)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() { server.Stop(); <-served }()

	inventory, err := DialInventory(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer inventory.Close()
	ctx := serve.WithTraceparent(t.Context(), parent)
	items := []Item{{SKU: "bowl", Quantity: 2}}
	if err := inventory.Reserve(ctx, "o", items); err != nil {
		t.Errorf("Reserve: %v, want none", err)
	}
	if len(w.trace) != 1 || w.trace[0] != parent {
		t.Errorf("traceparent %v arrived, want %s", w.trace, parent)
	}
	w.short = true
	var no *Refusal
	if err := inventory.Reserve(ctx, "o", items); !errors.As(err, &no) || no.Reason != "bowl: 1 left" {
		t.Errorf("Reserve of too much: %v, want a refusal that tells what there is", err)
	}
	if err := inventory.Release(ctx, "o"); err == nil || errors.As(err, &no) {
		t.Errorf("Release that the server does not have: %v, want an error that is no refusal", err)
	}
}

func TestPaymentsOverHTTP(t *testing.T) {
	for _, c := range []struct {
		name    string
		status  int
		body    string
		refused string // the reason; empty: not a refusal
		fails   bool
	}{
		{"charged", 201, `{"id":"ch_7"}`, "", false},
		{"declined", 402, `{"code":"card_declined"}`, "card_declined", true},
		{"declined in other words", 402, `no`, "http", true},
		{"broken", 500, `{"code":"internal"}`, "", true},
		{"away, says the proxy", 503, `upstream`, "", true},
		{"charged, and said badly", 201, `{"id":`, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got *http.Request
			var sent string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				got, sent = r, string(b)
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			}))
			defer server.Close()
			p := Payments{Web{"payments", server.URL, serve.Client(callTime)}}
			id, err := p.Charge(serve.WithTraceparent(t.Context(), parent), "o", 100, Card{Number: "4242"})
			var no *Refusal
			switch refused := errors.As(err, &no); {
			case (err != nil) != c.fails, refused != (c.refused != ""):
				t.Errorf("got %v, want it to fail: %v, as a refusal: %q", err, c.fails, c.refused)
			case refused && no.Reason != c.refused:
				t.Errorf("refused because of %q, want %q", no.Reason, c.refused)
			case err == nil && id != "ch_7":
				t.Errorf("charge %q, want ch_7", id)
			}
			if got.Header.Get("Idempotency-Key") != "o" || got.Header.Get("traceparent") != parent || !strings.Contains(sent, `"amount":100`) {
				t.Errorf("sent %v and %s, want the order as key, the trace, and the amount", got.Header, sent)
			}
		})
	}
}
