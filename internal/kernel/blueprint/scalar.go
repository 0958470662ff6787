package blueprint

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"stoa/internal/kernel/shape"
)

// maxDigits is the longest number that is read, in bytes: no field needs more, and the
// cost of longer ones grows with the square.
const maxDigits = 40

// The core schema of YAML 1.2, section 10.3.2.
var (
	coreInt   = regexp.MustCompile(`^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$`)
	coreFloat = regexp.MustCompile(`^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$`)
)

// A scalarKind is what a scalar is by the core schema.
type scalarKind string

const (
	scalarNull  scalarKind = "nothing"
	scalarBool  scalarKind = "a boolean"
	scalarInt   scalarKind = "a whole number"
	scalarFloat scalarKind = "a number"
	scalarText  scalarKind = "a text"
)

// kindOf resolves a scalar node.
func kindOf(n *yaml.Node) scalarKind {
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return scalarText
	}
	switch n.Value {
	case "", "~", "null", "Null", "NULL":
		return scalarNull
	case "true", "True", "TRUE", "false", "False", "FALSE":
		return scalarBool
	}
	switch {
	case coreInt.MatchString(n.Value):
		return scalarInt
	case coreFloat.MatchString(n.Value):
		return scalarFloat
	}
	return scalarText
}

// describe says what a node is, for a message: `the number 5`, `a list`.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch k := kindOf(n); k {
	case scalarNull:
		return "nothing"
	case scalarText:
		return fmt.Sprintf("the text %q", cut(n.Value))
	case scalarBool:
		return n.Value
	default:
		return "the number " + cut(n.Value)
	}
}

// cut shortens a text that is shown in a message.
func cut(s string) string { return shorten(s, 60) }

// shorten cuts a text to at most so many characters.
func shorten(s string, most int) string {
	n := 0
	for i := range s {
		if n++; n > most {
			return s[:i] + "..."
		}
	}
	return s
}

// parseInt reads a whole number of the core schema as s demands.
func parseInt(text string, s *shape.Shape) (any, error) {
	if len(text) > maxDigits {
		return nil, fmt.Errorf("has more than %d digits", maxDigits)
	}
	base, digits := 10, strings.TrimPrefix(text, "+")
	if d, ok := strings.CutPrefix(digits, "0o"); ok {
		base, digits = 8, d
	} else if d, ok := strings.CutPrefix(digits, "0x"); ok {
		base, digits = 16, d
	}
	if s.Kind == shape.Uint {
		v, err := strconv.ParseUint(digits, base, s.Bits)
		if err != nil {
			return nil, fmt.Errorf("%s is out of range: want 0 to %d", text, uint64(math.MaxUint64)>>(64-s.Bits))
		}
		return v, nil
	}
	v, err := strconv.ParseInt(digits, base, s.Bits)
	if err != nil {
		return nil, fmt.Errorf("%s is out of range: want %d to %d", text, int64(-1)<<(s.Bits-1), int64(math.MaxInt64)>>(64-s.Bits))
	}
	return v, nil
}

// parseFloat reads a finite number of the core schema.
func parseFloat(text string, bits int) (any, error) {
	if len(text) > maxDigits {
		return nil, fmt.Errorf("has more than %d digits", maxDigits)
	}
	if strings.HasPrefix(text, "0o") || strings.HasPrefix(text, "0x") {
		v, err := strconv.ParseUint(text, 0, 53)
		return float64(v), err
	}
	v, err := strconv.ParseFloat(text, bits)
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		return nil, fmt.Errorf("%s is no finite number", text)
	}
	return v, nil
}
