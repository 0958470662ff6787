package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"example.com/shop/internal/contract"
	"example.com/shop/internal/sqlitedb"
)

// shelf is a catalog in memory; nil does not answer.
type shelf map[string]Product

func (s shelf) Products(_ context.Context, skus []string) (map[string]Product, error) {
	if s == nil {
		return nil, errors.New("catalog is away")
	}
	found := map[string]Product{}
	for _, sku := range skus {
		if p, ok := s[sku]; ok {
			found[sku] = p
		}
	}
	return found, nil
}

func carts(t *testing.T) *Carts {
	t.Helper()
	db, err := sqlitedb.Open(filepath.Join(t.TempDir(), "db.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	c, err := Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var goods = shelf{
	"bowl": {SKU: "bowl", Title: "Everyday bowl", Price: 2400, Grams: 520, Picture: "/p.svg"},
	"lamp": {SKU: "lamp", Title: "Evening lamp", Price: 16500, Grams: 2100},
}

// The service gives what openapi.yaml promises.
func TestContract(t *testing.T) {
	many := shelf{}
	for i := range maxLines + 1 {
		sku := fmt.Sprintf("sku-%d", i)
		many[sku] = Product{SKU: sku, Title: sku, Price: 1}
	}
	c := contract.Serve(t, "openapi.yaml", Handler(carts(t), many, slog.New(slog.DiscardHandler)))
	id := c.Do(201, "POST", "/api/cart", "").Text("id")
	cart := "/api/cart/" + id
	c.Do(200, "PUT", cart+"/lines/sku-0", `{"quantity":2}`)
	c.Do(400, "PUT", cart+"/lines/sku-0", `{`)
	c.Do(422, "PUT", cart+"/lines/sku-0", `{"quantity":21}`)
	c.Do(422, "PUT", cart+"/lines/sku-0", `{}`)
	c.Do(422, "PUT", cart+"/lines/nothing", `{"quantity":1}`)
	c.Do(404, "PUT", "/api/cart/cart_none/lines/sku-0", `{"quantity":1}`)
	for i := range maxLines {
		c.Do(200, "PUT", fmt.Sprintf("%s/lines/sku-%d", cart, i), `{"quantity":1}`)
	}
	c.Do(409, "PUT", fmt.Sprintf("%s/lines/sku-%d", cart, maxLines), `{"quantity":1}`)
	c.Do(200, "GET", cart, "")
	c.Do(404, "GET", "/api/cart/cart_none", "")
	c.Do(204, "DELETE", cart, "")
	c.Do(404, "DELETE", "/api/cart/cart_none", "")
	c.Done()
}

func TestACartAddsUp(t *testing.T) {
	c := contract.Serve(t, "openapi.yaml", Handler(carts(t), goods, slog.New(slog.DiscardHandler)))
	cart := "/api/cart/" + c.Do(201, "POST", "/api/cart", "").Text("id")
	for _, step := range []struct {
		sku         string
		quantity    int
		want        string // lines
		pieces      int
		total       int64
		description string
	}{
		{"bowl", 2, "bowl 2", 2, 4800, "put in"},
		{"lamp", 1, "bowl 2, lamp 1", 3, 21300, "shown in the order of putting in"},
		{"bowl", 1, "bowl 1, lamp 1", 2, 18900, "the quantity is set, not added, and the place stays"},
		{"bowl", 0, "lamp 1", 1, 16500, "nought takes out"},
		{"bowl", 0, "lamp 1", 1, 16500, "again changes nothing"},
	} {
		var v View
		answer := c.Do(200, "PUT", cart+"/lines/"+step.sku, fmt.Sprintf(`{"quantity":%d}`, step.quantity))
		if err := json.Unmarshal(answer.Body, &v); err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, l := range v.Lines {
			lines = append(lines, fmt.Sprintf("%s %d", l.SKU, l.Quantity))
		}
		if got := strings.Join(lines, ", "); got != step.want || v.Pieces != step.pieces || v.Total != step.total {
			t.Errorf("%s: got %s, %d pieces, %d cents; want %s, %d, %d", step.description, got, v.Pieces, v.Total, step.want, step.pieces, step.total)
		}
	}
}

// A catalog that is away takes the prices with it, not the cart.
func TestWithoutTheCatalogACartStillWorks(t *testing.T) {
	c := contract.Serve(t, "openapi.yaml", Handler(carts(t), shelf(nil), slog.New(slog.DiscardHandler)))
	cart := "/api/cart/" + c.Do(201, "POST", "/api/cart", "").Text("id")
	var v View
	if err := json.Unmarshal(c.Do(200, "PUT", cart+"/lines/bowl", `{"quantity":2}`).Body, &v); err != nil {
		t.Fatal(err)
	}
	if v.Priced || v.Pieces != 2 || v.Lines[0].Title != "bowl" {
		t.Errorf("got %+v, want two pieces called bowl, without a price", v)
	}
}
