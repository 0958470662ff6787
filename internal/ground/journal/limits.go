package journal

import (
	"fmt"
	"strings"
)

// The limits of the port. They hold for every store, so that what was written on one
// can be moved to another; a broker's message of 900 KiB sets the pace.
const (
	MaxEntry     = 896 << 10 // bytes of an entry: its items and ItemOverhead for each
	ItemOverhead = 5         // bytes an item costs besides its own
	MaxValue     = 256 << 10 // bytes of a table value
	MaxKey       = 200       // bytes of a key, a log's or a table's name
	TableKeys    = 10_000    // keys a table is meant for; beyond, watches may be slow or reset
)

// Size gives the bytes that items count for against MaxEntry.
func Size(items ...[]byte) int {
	n := len(items) * ItemOverhead
	for _, it := range items {
		n += len(it)
	}
	return n
}

// CheckEntry gives ErrTooBig, with the sizes, for items that no entry can hold.
func CheckEntry(items ...[]byte) error {
	if n := Size(items...); n > MaxEntry {
		return fmt.Errorf("%w: an entry of %d bytes in %d items, at most %d fit", ErrTooBig, n, len(items), MaxEntry)
	}
	return nil
}

// CheckValue gives ErrTooBig, with the sizes, for a value no table can hold.
func CheckValue(v []byte) error {
	if len(v) > MaxValue {
		return fmt.Errorf("%w: a value of %d bytes, at most %d fit", ErrTooBig, len(v), MaxValue)
	}
	return nil
}

// CheckKey gives ErrKey, with the reason, unless key has 1 to MaxKey bytes of
// [-/_=.a-zA-Z0-9] and no leading, trailing or double dot. These are the keys that
// both a file name and a broker's subject can carry.
func CheckKey(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("%w: it is empty", ErrKey)
	case len(key) > MaxKey:
		return fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrKey, len(key), MaxKey)
	case key[0] == '.' || key[len(key)-1] == '.' || strings.Contains(key, ".."):
		return fmt.Errorf("%w: %q has a leading, trailing or double dot", ErrKey, key)
	}
	return checkBytes(key)
}

// CheckPrefix gives ErrKey for a prefix that no key can begin with. "" is every key.
func CheckPrefix(prefix string) error {
	if len(prefix) > MaxKey {
		return fmt.Errorf("%w: a prefix of %d bytes, keys have at most %d", ErrKey, len(prefix), MaxKey)
	}
	return checkBytes(prefix)
}

func checkBytes(key string) error {
	for i := range len(key) {
		if !keyByte(key[i]) {
			return fmt.Errorf("%w: %q has %q, which is none of letters, digits and the five - / _ = . of keys", ErrKey, key, key[i])
		}
	}
	return nil
}

func keyByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '/' || c == '_' || c == '=' || c == '.'
}
