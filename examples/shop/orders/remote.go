package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"example.com/shop/internal/grpctrace"
	"example.com/shop/internal/serve"
	"example.com/shop/orders/inventorypb"
)

// callTime is how long another context may take to answer.
const callTime = 5 * time.Second

// Inventory is the Warehouse behind gRPC.
type Inventory struct {
	conn   *grpc.ClientConn
	client inventorypb.InventoryClient
}

// DialInventory prepares calls to addr, host:port. It connects when it is first used.
func DialInventory(addr string) (*Inventory, error) {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpctrace.Client())
	if err != nil {
		return nil, err
	}
	return &Inventory{conn, inventorypb.NewInventoryClient(conn)}, nil
}

// Close ends the connection.
func (i *Inventory) Close() error { return i.conn.Close() }

// Reserve holds all items or none.
func (i *Inventory) Reserve(ctx context.Context, order string, items []Item) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	req := &inventorypb.ReserveStockRequest{ReservationId: order}
	for _, it := range items {
		req.Items = append(req.Items, &inventorypb.Item{Sku: it.SKU, Quantity: int32(it.Quantity)})
	}
	res, err := i.client.ReserveStock(ctx, req)
	if err != nil {
		return fmt.Errorf("inventory: %w", err)
	}
	if !res.Reserved {
		var short []string
		for _, s := range res.Short {
			short = append(short, fmt.Sprintf("%s: %d left", s.Sku, s.Available))
		}
		return &Refusal{strings.Join(short, ", ")}
	}
	return nil
}

// Release gives up what is held for an order.
func (i *Inventory) Release(ctx context.Context, order string) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if _, err := i.client.ReleaseStock(ctx, &inventorypb.ReleaseStockRequest{ReservationId: order}); err != nil {
		return fmt.Errorf("inventory: %w", err)
	}
	return nil
}

// A Web calls one service that speaks JSON over HTTP.
type Web struct {
	Name   string // of the service, for messages
	Base   string // http://host:port
	Client *http.Client
}

// call sends in (nil: no body) and decodes a 2xx answer into out. Any other answer is a *serve.Problem.
func (w Web) call(ctx context.Context, method, path, key string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, w.Base+path, body)
	if err != nil {
		return err
	}
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	res, err := w.Client.Do(r)
	if err != nil {
		return fmt.Errorf("%s: %w", w.Name, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("%s: %w", w.Name, err)
	}
	if res.StatusCode >= 300 {
		p := &serve.Problem{}
		_ = json.Unmarshal(b, p) // a proxy may have answered in other words; the status says enough
		p.Status, p.Code = res.StatusCode, cmp.Or(p.Code, "http")
		return fmt.Errorf("%s: %s %s: %w", w.Name, method, path, p)
	}
	if out == nil || len(b) == 0 {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%s: %s %s: answer cannot be read: %w", w.Name, method, path, err)
	}
	return nil
}

// Payments is the Till behind HTTP.
type Payments struct{ Web }

// Charge takes amount (cents) for an order. The order's id is the key: it is paid once.
func (p Payments) Charge(ctx context.Context, order string, amount int64, card Card) (string, error) {
	in := map[string]any{"orderId": order, "amount": amount, "currency": "EUR", "card": card}
	var out struct {
		ID string `json:"id"`
	}
	err := p.call(ctx, "POST", "/charges", order, in, &out)
	if no, ok := problem(err); ok && (no.Status == http.StatusPaymentRequired || no.Status == http.StatusUnprocessableEntity) {
		return "", &Refusal{no.Code}
	}
	return out.ID, err
}

// Refund gives back all that was charged for an order.
func (p Payments) Refund(ctx context.Context, order string) error {
	var out struct {
		Charges []struct{ ID, Status string }
	}
	if err := p.call(ctx, "GET", "/charges?orderId="+url.QueryEscape(order), "", nil, &out); err != nil {
		return err
	}
	for _, c := range out.Charges {
		if c.Status != "succeeded" {
			continue
		}
		if err := p.call(ctx, "POST", "/charges/"+url.PathEscape(c.ID)+"/refund", "", nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// A Shipment is a parcel as shipping tells of it.
type Shipment struct {
	TrackingNumber string          `json:"trackingNumber"`
	Status         string          `json:"status"`
	ExpectedAt     time.Time       `json:"expectedAt"`
	Events         []ShipmentEvent `json:"events"`
}

// A ShipmentEvent is one thing that happened to a parcel.
type ShipmentEvent struct {
	At     time.Time `json:"at"`
	Status string    `json:"status"`
	Text   string    `json:"text"`
}

// Shipping is the Carrier behind HTTP.
type Shipping struct{ Web }

// Quote returns what a method costs, in cents.
func (s Shipping) Quote(ctx context.Context, country, method string, grams int) (int64, error) {
	var out struct {
		Rates []struct {
			ID     string
			Amount int64
		}
	}
	err := s.call(ctx, "GET", fmt.Sprintf("/rates?country=%s&grams=%d", url.QueryEscape(country), grams), "", nil, &out)
	if no, ok := problem(err); ok && no.Status == http.StatusUnprocessableEntity {
		return 0, &Refusal{"address.country"}
	}
	if err != nil {
		return 0, err
	}
	for _, r := range out.Rates {
		if r.ID == method {
			return r.Amount, nil
		}
	}
	return 0, &Refusal{"delivery"}
}

// Ship hands the parcel in.
func (s Shipping) Ship(ctx context.Context, o Order) (string, error) {
	in := map[string]any{"orderId": o.ID, "method": o.Delivery.Method, "country": o.Address.Country, "grams": o.Grams(), "handedIn": o.PlacedAt}
	var out Shipment
	err := s.call(ctx, "POST", "/shipments", o.ID, in, &out)
	return out.TrackingNumber, err
}

// Follow returns where a parcel is.
func (s Shipping) Follow(ctx context.Context, trackingNumber string) (*Shipment, error) {
	out := &Shipment{}
	err := s.call(ctx, "GET", "/shipments/"+url.PathEscape(trackingNumber), "", nil, out)
	return out, err
}

// Catalog is the Shelf behind HTTP.
type Catalog struct{ Web }

// Price fills in titles, prices and weights.
func (c Catalog) Price(ctx context.Context, items []Item) error {
	skus := make([]string, len(items))
	for i, it := range items {
		skus[i] = it.SKU
	}
	var out struct{ Products []Item }
	if err := c.call(ctx, "GET", "/api/catalog/products?skus="+url.QueryEscape(strings.Join(skus, ",")), "", nil, &out); err != nil {
		return err
	}
	known := map[string]Item{}
	for _, p := range out.Products {
		known[p.SKU] = p
	}
	for i := range items {
		p, ok := known[items[i].SKU]
		if !ok {
			return &Refusal{fmt.Sprintf("items[%d].sku", i)}
		}
		p.Quantity = items[i].Quantity
		items[i] = p
	}
	return nil
}

// Carts empties the customer's cart.
type Carts struct{ Web }

// Empty takes everything out of a cart.
func (c Carts) Empty(ctx context.Context, id string) error {
	return c.call(ctx, "DELETE", "/api/cart/"+url.PathEscape(id), "", nil, nil)
}

// problem returns the answer that err is about, if there was one.
func problem(err error) (*serve.Problem, bool) {
	var p *serve.Problem
	return p, errors.As(err, &p)
}
