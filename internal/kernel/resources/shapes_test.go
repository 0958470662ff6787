package resources_test

import (
	"testing"

	"stoa/internal/kernel/shape"
)

// Every request and answer has a schema, so that doors can offer it.
func TestShapes(t *testing.T) {
	b := newBench(t)
	for _, o := range b.cat.Operations {
		for _, ty := range []struct {
			what string
			m    map[string]any
		}{{"request", shape.Schema(o.In, nil)}, {"answer", shape.Schema(o.Out, nil)}} {
			if len(ty.m) == 0 {
				t.Errorf("%s: its %s has no schema", o.Name, ty.what)
			}
		}
	}
}
