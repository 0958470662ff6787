package nearest

import "testing"

func TestTo(t *testing.T) {
	names := []string{"inventory", "orders", "payments", "cart"}
	for _, c := range []struct{ name, want string }{
		{"inventroy", "inventory"}, // swapped neighbours are one edit
		{"Orders", "orders"},
		{"order", "orders"},
		{"crt", "cart"},
		{"inventories", "inventory"}, // a plural
		{"shipping", ""},
		{"", ""},
		{"x", ""},
	} {
		if got := To(c.name, names); got != c.want {
			t.Errorf("To(%q) = %q, want %q", c.name, got, c.want)
		}
	}
}

// The nearest of several is taken, the first of equals.
func TestToTakesTheNearest(t *testing.T) {
	if got := To("dat", []string{"data", "date", "dat1x"}); got != "data" {
		t.Errorf("got %q, want the first of the nearest", got)
	}
}

func TestHint(t *testing.T) {
	many := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"}
	for _, c := range []struct {
		name       string
		candidates []string
		want       string
	}{
		{"prot", []string{"port", "env"}, "did you mean port?"},
		{"zzzzzz", []string{"port", "env"}, "valid: port, env"},
		{"zzzzzz", nil, ""},
		{"zzzzzz", many, "valid are a, b, c, d, e, f, g, h, i, j, k, l and 1 more"},
	} {
		if got := Hint(c.name, c.candidates); got != c.want {
			t.Errorf("Hint(%q, %v) = %q, want %q", c.name, c.candidates, got, c.want)
		}
	}
}
