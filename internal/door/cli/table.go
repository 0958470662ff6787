package cli

import (
	"io"
	"strings"
	"unicode"
)

// A Table is aligned by the width that its cells have on a terminal. It never wraps:
// a line is a record, also for grep.
type Table struct {
	Head  []string // may be nil
	Rows  [][]string
	Right []bool // columns aligned to the right; may be shorter than the rows
}

// columnGap is what stands between two columns.
const columnGap = "  "

// WriteTo writes the table. Control characters in cells are replaced.
func (t Table) WriteTo(w io.Writer) (int64, error) {
	rows := t.Rows
	if t.Head != nil {
		rows = append([][]string{t.Head}, rows...)
	}
	clean := make([][]string, len(rows))
	var widths []int
	for i, row := range rows {
		clean[i] = make([]string, len(row))
		for j, cell := range row {
			cell = plainText(strings.NewReplacer("\n", " ", "\t", " ").Replace(cell))
			clean[i][j] = cell
			if j == len(widths) {
				widths = append(widths, 0)
			}
			widths[j] = max(widths[j], Width(cell))
		}
	}
	var b strings.Builder
	for _, row := range clean {
		var line strings.Builder
		for j, cell := range row {
			if j > 0 {
				line.WriteString(columnGap)
			}
			pad := strings.Repeat(" ", widths[j]-Width(cell))
			if j < len(t.Right) && t.Right[j] {
				line.WriteString(pad + cell)
			} else {
				line.WriteString(cell + pad)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// Width gives the columns that s takes on a terminal: two for East Asian wide
// characters and most pictures, none for marks and joiners. Sequences that
// terminals join (flags, families) count as their parts.
func Width(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case unicode.Is(wide, r):
			n += 2
		default:
			n++
		}
	}
	return n
}

// wide are the ranges with property W or F in Unicode's EastAsianWidth.txt, joined
// where only unassigned characters lie between.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x1100, 0x115F, 1}, {0x231A, 0x231B, 1}, {0x2329, 0x232A, 1}, {0x23E9, 0x23EC, 1}, {0x23F0, 0x23F0, 1},
		{0x25FD, 0x25FE, 1}, {0x2614, 0x2615, 1}, {0x2648, 0x2653, 1}, {0x26A1, 0x26A1, 1}, {0x2705, 0x2705, 1},
		{0x274C, 0x274C, 1}, {0x2753, 0x2755, 1}, {0x2795, 0x2797, 1}, {0x2B50, 0x2B50, 1},
		{0x2E80, 0x303E, 1}, {0x3041, 0xA4CF, 1}, {0xA960, 0xA97F, 1}, {0xAC00, 0xD7A3, 1}, {0xF900, 0xFAFF, 1},
		{0xFE30, 0xFE6F, 1}, {0xFF01, 0xFF60, 1}, {0xFFE0, 0xFFE6, 1},
	},
	R32: []unicode.Range32{
		{0x16FE0, 0x18CFF, 1}, {0x1B000, 0x1B2FF, 1}, {0x1F300, 0x1F64F, 1}, {0x1F680, 0x1F6FF, 1},
		{0x1F900, 0x1FAFF, 1}, {0x20000, 0x3FFFD, 1},
	},
}

// plainText replaces what could move a terminal's cursor, change its state or hide text:
// control characters but newline and tab, and the marks that turn the direction of writing.
func plainText(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r), r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069, r == 0x2028, r == 0x2029:
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
