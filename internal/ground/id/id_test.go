package id

import (
	"regexp"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

var form = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// Identifiers have the form of version 7, differ, and sort by the millisecond of their making.
func TestNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made []string
		for range 200 {
			made = append(made, New())
			time.Sleep(time.Millisecond) // of the bubble: costs nothing
		}
		if !slices.IsSorted(made) {
			t.Error("identifiers of later milliseconds sort before earlier ones")
		}
		seen := map[string]bool{}
		for range 1000 { // within one millisecond
			made = append(made, New())
		}
		for _, s := range made {
			if !form.MatchString(s) {
				t.Fatalf("%q is no UUID of version 7", s)
			}
			if seen[s] {
				t.Fatalf("%q came twice", s)
			}
			seen[s] = true
		}
	})
}
