package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"example.com/shop/internal/grpctrace"
	"example.com/shop/internal/serve"
	"example.com/shop/storefront/inventorypb"
)

const (
	askTime = 4 * time.Second // a page rather shows less than waits longer
	maxSKUs = 100             // in one request
)

// Backend answers the page about what is not open to the outside.
type Backend struct {
	Stock interface {
		Available(ctx context.Context, skus []string) (map[string]int, error)
	}
	Rates Rates
	Log   *slog.Logger
}

// Handler serves
//
//	GET /bff/stock?skus=bowl,lamp           {"stock": {"bowl": 120, "lamp": 30}}; without the warehouse
//	                                        {"stock": {}, "degraded": "The warehouse does not answer."}
//	GET /bff/rates?country=GR&grams=520     as shipping answers it; without shipping as it has answered
//	                                        before, with "degraded"
func (b Backend) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /bff/stock", serve.Handle(b.Log, b.stock))
	mux.Handle("GET /bff/rates", serve.Handle(b.Log, b.rates))
	mux.Handle("/bff/", serve.Handle(b.Log, func(http.ResponseWriter, *http.Request) error {
		return serve.Fail(http.StatusNotFound, "not_found", "There is nothing here.")
	}))
	return mux
}

func (b Backend) stock(w http.ResponseWriter, r *http.Request) error {
	skus := strings.FieldsFunc(r.URL.Query().Get("skus"), func(c rune) bool { return c == ',' })
	if len(skus) == 0 || len(skus) > maxSKUs {
		return serve.Invalid([]serve.Field{{Path: "skus", Want: fmt.Sprintf("1 to %d, with commas between", maxSKUs)}})
	}
	stock, err := b.Stock.Available(r.Context(), skus)
	if err != nil {
		// The page shows the shelf without it, and says so. No error is answered: whoever sees one asks again.
		b.Log.WarnContext(r.Context(), "stock not known", "err", err)
		serve.JSON(w, http.StatusOK, map[string]any{"stock": map[string]int{}, "degraded": "The warehouse does not answer."})
		return nil
	}
	serve.JSON(w, http.StatusOK, map[string]any{"stock": stock})
	return nil
}

func (b Backend) rates(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	status, body, standIn, err := b.Rates.Ask(r.Context(), q.Get("country"), q.Get("grams"))
	if err != nil || status >= 500 {
		b.Log.WarnContext(r.Context(), "rates not known", "status", status, "err", err)
		return serve.Fail(http.StatusServiceUnavailable, "unavailable", "The carrier does not answer.")
	}
	if standIn {
		var told map[string]any
		if err := json.Unmarshal(body, &told); err != nil {
			return fmt.Errorf("rates: %w", err)
		}
		told["degraded"] = "The carrier does not answer. This is what it said last."
		serve.JSON(w, status, told)
		return nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body)
	return nil
}

// Stock asks the warehouse over gRPC.
type Stock struct {
	conn   *grpc.ClientConn
	client inventorypb.InventoryClient
}

// DialStock prepares calls to addr, host:port. It connects when it is first used.
func DialStock(addr string) (*Stock, error) {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpctrace.Client())
	if err != nil {
		return nil, err
	}
	return &Stock{conn, inventorypb.NewInventoryClient(conn)}, nil
}

// Close ends the connection.
func (s *Stock) Close() error { return s.conn.Close() }

// Available returns the pieces of each of skus that can be promised now.
func (s *Stock) Available(ctx context.Context, skus []string) (map[string]int, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	res, err := s.client.GetStock(ctx, &inventorypb.GetStockRequest{Skus: skus})
	if err != nil {
		return nil, err
	}
	stock := make(map[string]int, len(res.Stock))
	for _, it := range res.Stock {
		stock[it.Sku] = int(it.Available)
	}
	return stock, nil
}

// Rates asks shipping what sending costs.
type Rates struct {
	Base   string // http://host:port
	Client *http.Client
}

// Ask passes a question on and the answer back: status, body, and whether it stands in for one
// that failed, as uses declares (stoa.yaml).
func (s Rates) Ask(ctx context.Context, country, grams string) (status int, body []byte, standIn bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", s.Base+"/rates", nil)
	if err != nil {
		return 0, nil, false, err
	}
	q := r.URL.Query()
	q.Set("country", country)
	q.Set("grams", grams)
	r.URL.RawQuery = q.Encode()
	res, err := s.Client.Do(r)
	if err != nil {
		return 0, nil, false, err
	}
	defer res.Body.Close()
	body, err = io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res.StatusCode, body, res.Header.Get("Stoa-Fallback") != "", err
}
