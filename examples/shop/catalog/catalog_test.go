package main

import (
	"bytes"
	"encoding/xml"
	"log/slog"
	"strings"
	"testing"

	"example.com/shop/internal/contract"
)

func load(t *testing.T) *Shelf {
	t.Helper()
	shelf, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return shelf
}

// The service gives what openapi.yaml promises.
func TestContract(t *testing.T) {
	c := contract.Serve(t, "openapi.yaml", Handler(load(t), slog.New(slog.DiscardHandler)))
	const products = "/api/catalog/products"
	c.Do(200, "GET", products, "")
	c.Do(200, "GET", products+"?q=glass&category=table", "")
	c.Do(200, "GET", products+"?skus=lamp,nothing,bowl", "")
	c.Do(422, "GET", products+"?category=cars", "")
	c.Do(422, "GET", products+"?q="+strings.Repeat("x", 201), "")
	c.Do(422, "GET", products+"?skus="+strings.Repeat("a,", 100), "")
	c.Do(200, "GET", products+"/lamp", "")
	c.Do(404, "GET", products+"/nothing", "")
	c.Do(200, "GET", products+"/lamp/picture.svg", "")
	c.Do(404, "GET", products+"/nothing/picture.svg", "")
	c.Do(404, "GET", products+"/..%2fproducts.json/picture.svg", "")
	c.Do(200, "GET", "/api/catalog/categories", "")
	c.Done()
}

func TestFind(t *testing.T) {
	shelf := load(t)
	for _, c := range []struct{ name, query, category, want string }{
		{"a word of the title", "lamp", "", "lamp"},
		{"case and spaces do not matter", "  LAMP ", "", "lamp"},
		{"all words must occur", "wool blanket", "", "blanket"},
		{"what has it in the title comes first", "bowl", "", "bowl"},
		{"a material, told in the details", "glass", "", "carafe tumblers"},
		{"only in its category", "lamp", "desk", ""},
		{"nothing", "zeppelin", "", ""},
		{"a category, in the order of the shop", "", "desk", "clock notebook candle"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, p := range shelf.Find(c.query, c.category) {
				got = append(got, p.SKU)
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("Find(%q, %q): got %v, want %q", c.query, c.category, got, c.want)
			}
		})
	}
}

func TestThese(t *testing.T) {
	got := load(t).These([]string{"lamp", "nothing", "bowl"})
	if len(got) != 2 || got[0].SKU != "lamp" || got[1].SKU != "bowl" {
		t.Errorf("got %v, want lamp and bowl, in the order asked", got)
	}
}

// Every picture is well-formed XML and can do nothing but be looked at.
func TestPicturesAreHarmless(t *testing.T) {
	shelf := load(t)
	for _, p := range shelf.products {
		svg, err := shelf.Picture(p.SKU)
		if err != nil {
			t.Fatal(err)
		}
		if err := xml.Unmarshal(svg, new(struct{ XMLName xml.Name })); err != nil {
			t.Errorf("%s: %v", p.SKU, err)
		}
		for _, bad := range []string{"<script", "href", "style=", " on"} {
			if bytes.Contains(svg, []byte(bad)) {
				t.Errorf("%s.svg has %q in it", p.SKU, bad)
			}
		}
	}
}
