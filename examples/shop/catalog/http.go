package main

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"example.com/shop/internal/serve"
)

const (
	maxSKUs  = 100 // in one request
	maxQuery = 200 // bytes of a search
)

// Handler serves openapi.yaml.
func Handler(shelf *Shelf, log *slog.Logger) http.Handler {
	h := handlers{shelf}
	mux := http.NewServeMux()
	mux.Handle("GET /api/catalog/products", serve.Handle(log, h.list))
	mux.Handle("GET /api/catalog/products/{sku}", serve.Handle(log, h.show))
	mux.Handle("GET /api/catalog/products/{sku}/picture.svg", serve.Handle(log, h.picture))
	mux.Handle("GET /api/catalog/categories", serve.Handle(log, h.categories))
	return mux
}

type handlers struct{ shelf *Shelf }

// mayStandIn lets whoever keeps the answer give it again while nothing better is to be had. Otherwise
// it is asked for: a new price shows at once.
func mayStandIn(w http.ResponseWriter) { w.Header().Set("Cache-Control", "max-age=0") }

func (h handlers) list(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	query, category, skus := q.Get("q"), q.Get("category"), q.Get("skus")
	var wrong []serve.Field
	if len(query) > maxQuery {
		wrong = append(wrong, serve.Field{Path: "q", Want: "at most 200 bytes"})
	}
	if category != "" && !slices.ContainsFunc(h.shelf.categories, func(c Category) bool { return c.ID == category }) {
		wrong = append(wrong, serve.Field{Path: "category", Want: "one of /api/catalog/categories"})
	}
	if strings.Count(skus, ",") >= maxSKUs {
		wrong = append(wrong, serve.Field{Path: "skus", Want: "at most 100, with commas between"})
	}
	if p := serve.Invalid(wrong); p != nil {
		return p
	}
	var products []Product
	if q.Has("skus") {
		products = h.shelf.These(strings.Split(skus, ","))
	} else {
		products = h.shelf.Find(query, category)
	}
	mayStandIn(w)
	serve.JSON(w, http.StatusOK, map[string]any{"products": products})
	return nil
}

func (h handlers) show(w http.ResponseWriter, r *http.Request) error {
	p, ok := h.shelf.Product(r.PathValue("sku"))
	if !ok {
		return serve.Fail(http.StatusNotFound, "not_found", "There is no product %q.", r.PathValue("sku"))
	}
	mayStandIn(w)
	serve.JSON(w, http.StatusOK, p)
	return nil
}

func (h handlers) picture(w http.ResponseWriter, r *http.Request) error {
	svg, err := h.shelf.Picture(r.PathValue("sku"))
	if err != nil {
		return serve.Fail(http.StatusNotFound, "not_found", "There is no picture of %q.", r.PathValue("sku"))
	}
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Header().Set("Cache-Control", "public, max-age=60")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(svg)
	return nil
}

func (h handlers) categories(w http.ResponseWriter, r *http.Request) error {
	mayStandIn(w)
	serve.JSON(w, http.StatusOK, map[string]any{"categories": h.shelf.categories})
	return nil
}
