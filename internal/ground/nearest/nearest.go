// Package nearest finds the name that somebody most likely meant.
package nearest

import (
	"fmt"
	"slices"
	"strings"
)

// maxShown is how many valid names a hint lists before it gives up.
const maxShown = 12

// maxLen bounds the names that are compared, in bytes: distance is quadratic.
const maxLen = 128

// To gives the candidate closest to name by edit distance (insert, delete, replace,
// swap of neighbours; case ignored), or "" if none is close: more than a third of the
// longer name's length away, at least one edit.
func To(name string, candidates []string) string {
	best, bestDist := "", -1
	for _, c := range candidates {
		if len(c) > maxLen || len(name) > maxLen {
			continue
		}
		d := distance(strings.ToLower(name), strings.ToLower(c))
		if singular(name) == singular(c) {
			d = min(d, 1)
		}
		if bound := max(1, max(len(name), len(c))/3); d > bound {
			continue
		}
		if bestDist < 0 || d < bestDist {
			best, bestDist = c, d
		}
	}
	return best
}

// singular gives a name without the ending of its plural, in lower case: that is one edit,
// whatever its spelling.
func singular(name string) string {
	name = strings.ToLower(name)
	if stem, ok := strings.CutSuffix(name, "ies"); ok {
		return stem + "y"
	}
	return strings.TrimSuffix(name, "s")
}

// Hint gives a sentence that offers the nearest candidate, or lists the valid ones; "" if there are none.
func Hint(name string, candidates []string) string {
	if n := To(name, candidates); n != "" {
		return "did you mean " + n + "?"
	}
	switch {
	case len(candidates) == 0:
		return ""
	case len(candidates) > maxShown:
		c := slices.Clone(candidates)
		slices.Sort(c)
		return fmt.Sprintf("valid are %s and %d more", strings.Join(c[:maxShown], ", "), len(c)-maxShown)
	}
	return "valid: " + strings.Join(candidates, ", ")
}

// Sentence is Hint for people who read sentences: it offers the nearest candidate, or says
// which there are; "" if there are none.
func Sentence(name string, candidates []string) string {
	if n := To(name, candidates); n != "" {
		return "Did you mean " + n + "?"
	}
	c := slices.Clone(candidates)
	slices.Sort(c)
	switch {
	case len(c) == 0:
		return ""
	case len(c) == 1:
		return "There is " + c[0] + "."
	case len(c) > maxShown:
		return fmt.Sprintf("There are %s and %d more.", strings.Join(c[:maxShown], ", "), len(c)-maxShown)
	}
	return "There are " + strings.Join(c, ", ") + "."
}

// distance is the optimal string alignment distance of a and b, in bytes.
func distance(a, b string) int {
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
