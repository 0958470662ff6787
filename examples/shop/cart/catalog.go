package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Catalog asks the catalog about products.
type Catalog struct {
	Base   string // http://host:port
	Client *http.Client
}

// A Product is what the cart needs of one: the cart's own words, not the catalog's.
type Product struct {
	SKU     string `json:"sku"`
	Title   string `json:"title"`
	Price   int64  `json:"price"` // cents
	Grams   int    `json:"grams"`
	Picture string `json:"picture"`
}

// Products returns those of skus that there are.
func (c Catalog) Products(ctx context.Context, skus []string) (map[string]Product, error) {
	found := map[string]Product{}
	if len(skus) == 0 {
		return found, nil
	}
	r, err := http.NewRequestWithContext(ctx, "GET", c.Base+"/api/catalog/products?skus="+url.QueryEscape(strings.Join(skus, ",")), nil)
	if err != nil {
		return nil, err
	}
	res, err := c.Client.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("catalog answered %s", res.Status)
	}
	var out struct {
		Products []Product `json:"products"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&out); err != nil {
		return nil, fmt.Errorf("catalog answered what cannot be read: %w", err)
	}
	for _, p := range out.Products {
		found[p.SKU] = p
	}
	return found, nil
}
