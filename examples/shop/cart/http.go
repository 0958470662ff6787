package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"example.com/shop/internal/serve"
)

// Shops is the port to what knows products; package main gives a Catalog, tests a map.
type Shops interface {
	Products(ctx context.Context, skus []string) (map[string]Product, error)
}

// A View is a cart as the customer sees it.
type View struct {
	ID       string     `json:"id"`
	Lines    []LineView `json:"lines"`
	Pieces   int        `json:"pieces"`
	Total    int64      `json:"total"` // cents, of the lines that have a price
	Grams    int        `json:"grams"`
	Currency string     `json:"currency"`
	Priced   bool       `json:"priced"` // false: the catalog did not answer, or does not know a line
}

// A LineView is a line with what the catalog says of it.
type LineView struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
	Title    string `json:"title"`
	Price    int64  `json:"price"` // cents, of one piece
	Total    int64  `json:"total"`
	Picture  string `json:"picture,omitempty"`
}

// Handler serves openapi.yaml.
func Handler(carts *Carts, catalog Shops, log *slog.Logger) http.Handler {
	h := handlers{carts, catalog, log}
	mux := http.NewServeMux()
	mux.Handle("POST /api/cart", serve.Handle(log, h.create))
	mux.Handle("GET /api/cart/{id}", serve.Handle(log, h.show))
	mux.Handle("DELETE /api/cart/{id}", serve.Handle(log, h.empty))
	mux.Handle("PUT /api/cart/{id}/lines/{sku}", serve.Handle(log, h.put))
	return mux
}

type handlers struct {
	carts   *Carts
	catalog Shops
	log     *slog.Logger
}

func (h handlers) create(w http.ResponseWriter, r *http.Request) error {
	id, err := h.carts.New(r.Context())
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/api/cart/"+id)
	serve.JSON(w, http.StatusCreated, h.view(r.Context(), id, []Line{}))
	return nil
}

func (h handlers) show(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	lines, err := h.carts.Lines(r.Context(), id)
	if err != nil {
		return told(err)
	}
	serve.JSON(w, http.StatusOK, h.view(r.Context(), id, lines))
	return nil
}

func (h handlers) empty(w http.ResponseWriter, r *http.Request) error {
	if err := h.carts.Empty(r.Context(), r.PathValue("id")); err != nil {
		return told(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (h handlers) put(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Quantity *int `json:"quantity"`
	}
	if err := serve.Read(w, r, &in); err != nil {
		return err
	}
	if in.Quantity == nil || *in.Quantity < 0 || *in.Quantity > maxQuantity {
		return serve.Invalid([]serve.Field{{Path: "quantity", Want: "0 to 20"}})
	}
	sku := r.PathValue("sku")
	if *in.Quantity > 0 {
		known, err := h.catalog.Products(r.Context(), []string{sku})
		if err != nil {
			// Better a line that has no price for a moment than a customer who cannot go on.
			h.log.WarnContext(r.Context(), "product not checked", "sku", sku, "err", err)
		} else if _, ok := known[sku]; !ok {
			return serve.Invalid([]serve.Field{{Path: "sku", Want: "a product of the catalog"}})
		}
	}
	if err := h.carts.Put(r.Context(), r.PathValue("id"), sku, *in.Quantity); err != nil {
		return told(err)
	}
	return h.show(w, r)
}

func (h handlers) view(ctx context.Context, id string, lines []Line) View {
	v := View{ID: id, Lines: []LineView{}, Currency: "EUR", Priced: true}
	skus := make([]string, len(lines))
	for i, l := range lines {
		skus[i] = l.SKU
	}
	products, err := h.catalog.Products(ctx, skus)
	if err != nil {
		h.log.WarnContext(ctx, "cart shown without prices", "cart", id, "err", err)
	}
	for _, l := range lines {
		p, ok := products[l.SKU]
		if !ok {
			v.Priced = false
			p.Title = l.SKU
		}
		total := p.Price * int64(l.Quantity)
		v.Lines = append(v.Lines, LineView{l.SKU, l.Quantity, p.Title, p.Price, total, p.Picture})
		v.Pieces += l.Quantity
		v.Total += total
		v.Grams += p.Grams * l.Quantity
	}
	return v
}

func told(err error) error {
	switch {
	case errors.Is(err, errNoCart):
		return serve.Fail(http.StatusNotFound, "not_found", "There is no such cart.")
	case errors.Is(err, errFull):
		return serve.Fail(http.StatusConflict, "full", "A cart has room for %d different things.", maxLines)
	}
	return err
}
