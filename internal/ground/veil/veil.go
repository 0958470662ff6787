// Package veil takes secrets out of text that people and files are to see.
//
// A Veil is of one who has secrets, and hides them line by line, in whatever form they
// take there; a Seam puts together a line that comes in pieces, so that none lies across
// two; Known hides what anybody has. What a program itself encodes in another way,
// as in base64, or breaks over lines where the secret does not, is not found.
package veil

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// MinLength is how many bytes a secret has at least: a shorter one would be found in
// innocent text, so it is not looked for. An empty one is nothing to hide.
const MinLength = 4

var hidden = []byte("[redacted]")

// A Veil hides the secrets of one instance in what it says. It never changes.
type Veil struct {
	words [][]byte // longest first, so that none is left in part because a shorter one is part of it
}

// New gives the veil for all these secrets. Output comes line by line, so each line of a secret
// is looked for (a key in PEM has many), and so are the forms that a secret takes inside
// a JSON string and inside a URL.
func New(all []string) Veil {
	var v Veil
	for _, secret := range all {
		for line := range strings.Lines(secret) {
			line = strings.TrimSpace(line)
			quoted, _ := json.Marshal(line) // a string always can be
			for _, form := range []string{line, string(quoted[1 : len(quoted)-1]), url.QueryEscape(line), url.PathEscape(line)} {
				if len(form) >= MinLength {
					v.words = append(v.words, []byte(form))
				}
			}
		}
	}
	slices.SortFunc(v.words, func(a, b []byte) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return bytes.Compare(a, b)
	})
	v.words = slices.CompactFunc(v.words, bytes.Equal)
	return v
}

// Hide takes secrets out of a line. It gives back line itself if it holds none. Control
// bytes are no part of what people are shown, so a line with a secret that control bytes
// lie in, as in UTF-16, loses these.
func (v Veil) Hide(line []byte) []byte {
	if len(v.words) == 0 {
		return line
	}
	line = v.replace(line)
	if bytes.ContainsFunc(line, Control) {
		bare := bytes.Map(func(r rune) rune {
			if Control(r) {
				return -1
			}
			return r
		}, line)
		if shown := v.replace(bare); len(shown) != len(bare) || !bytes.Equal(shown, bare) {
			return shown
		}
	}
	return line
}

func (v Veil) replace(line []byte) []byte {
	for _, w := range v.words {
		if bytes.Contains(line, w) {
			line = bytes.ReplaceAll(line, w, hidden)
		}
	}
	return line
}

// Control says whether a rune is shown to nobody.
func Control(r rune) bool { return r != '\t' && unicode.IsControl(r) }

// cut gives where text, which goes on in another piece, can be cut so that no secret lies
// across: what is before is whole, what is after may be the beginning of one.
func (v Veil) cut(text []byte) int {
	at := len(text)
	if len(v.words) > 0 {
		at = max(0, at-len(v.words[0])+1) // a longer beginning would be all of it
	}
	for moved := true; moved; { // it lies before what lies across, however they overlap
		moved = false
		for _, w := range v.words {
			from := max(0, at-len(w)+1)
			if i := bytes.Index(text[from:min(len(text), at+len(w)-1)], w); i >= 0 && from+i < at {
				at, moved = from+i, true
			}
		}
	}
	return at
}

// A Seam puts a line together that comes in pieces, as far as a secret may lie across
// two of them. Its zero value has nothing pending. Writes of a program need no Seam: a
// line is whole, in however many it came, up to some bound. What a program itself
// breaks over lines, other than where the secret does, is not found.
type Seam struct{ pending []byte }

// Join gives what of the line can be shown now: all of it if more is not set.
func (s *Seam) Join(v Veil, piece []byte, more bool) []byte {
	text := piece
	if len(s.pending) > 0 {
		text = slices.Concat(s.pending, piece)
	}
	s.pending = nil
	if !more {
		return text
	}
	at := v.cut(text)
	s.pending = slices.Clone(text[at:])
	return text[:at]
}
