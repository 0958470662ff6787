package main

import (
	"embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

//go:embed products.json pictures/*.svg
var files embed.FS

// A Product is what the shop shows of a thing it sells.
type Product struct {
	SKU         string      `json:"sku"`
	Title       string      `json:"title"`
	Category    string      `json:"category"`
	Price       int64       `json:"price"` // cents
	Currency    string      `json:"currency"`
	Grams       int         `json:"grams"` // with its packing
	Blurb       string      `json:"blurb"`
	Description string      `json:"description"`
	Details     [][2]string `json:"details"` // label and value
	Picture     string      `json:"picture"` // path of an SVG
}

// A Category is a part of the shop. The order of categories is the shop's.
type Category struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Count int    `json:"count"`
}

var categories = []Category{{ID: "table", Title: "Table"}, {ID: "kitchen", Title: "Kitchen"}, {ID: "living", Title: "Living"}, {ID: "desk", Title: "Desk"}}

// A Shelf holds every product, in the order in which they are shown. It never changes.
type Shelf struct {
	products   []Product
	categories []Category
}

// Load reads the products that were built into this program, each with its picture.
func Load() (*Shelf, error) {
	b, err := files.ReadFile("products.json")
	if err != nil {
		return nil, err
	}
	s := &Shelf{categories: slices.Clone(categories)}
	if err := json.Unmarshal(b, &s.products); err != nil {
		return nil, fmt.Errorf("products.json: %w", err)
	}
	for i := range s.products {
		p := &s.products[i]
		p.Currency = "EUR"
		p.Picture = "/api/catalog/products/" + p.SKU + "/picture.svg"
		if _, err := s.Picture(p.SKU); err != nil {
			return nil, fmt.Errorf("products.json: %s has no picture: %w", p.SKU, err)
		}
		c := slices.IndexFunc(s.categories, func(c Category) bool { return c.ID == p.Category })
		if c < 0 {
			return nil, fmt.Errorf("products.json: %s is in category %q, which there is not", p.SKU, p.Category)
		}
		s.categories[c].Count++
	}
	return s, nil
}

// Find returns the products in category (empty: any) that have every word of query
// in what is told of them, those with it in the title first.
func (s *Shelf) Find(query, category string) []Product {
	words := strings.Fields(strings.ToLower(query))
	found := []Product{}
	for _, p := range s.products {
		if (category == "" || p.Category == category) && hasAll(p.text(), words) {
			found = append(found, p)
		}
	}
	slices.SortStableFunc(found, func(a, b Product) int {
		return rank(a, words) - rank(b, words)
	})
	return found
}

// These returns the products called skus, in that order; unknown ones are left out.
func (s *Shelf) These(skus []string) []Product {
	found := []Product{}
	for _, sku := range skus {
		if p, ok := s.Product(sku); ok {
			found = append(found, p)
		}
	}
	return found
}

// Product returns the product called sku.
func (s *Shelf) Product(sku string) (Product, bool) {
	i := slices.IndexFunc(s.products, func(p Product) bool { return p.SKU == sku })
	if i < 0 {
		return Product{}, false
	}
	return s.products[i], true
}

// Picture returns the SVG of a product.
func (s *Shelf) Picture(sku string) ([]byte, error) {
	return files.ReadFile("pictures/" + sku + ".svg") // embed refuses names with ..
}

func (p Product) text() string {
	text := p.Title + " " + p.Blurb + " " + p.Category + " " + p.Description
	for _, d := range p.Details {
		text += " " + d[1]
	}
	return strings.ToLower(text)
}

func rank(p Product, words []string) int {
	if hasAll(strings.ToLower(p.Title), words) {
		return 0
	}
	return 1
}

func hasAll(text string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}
