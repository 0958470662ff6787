package cache

import "time"

// The forms of a date, RFC 9110, section 5.6.7: the one that is written and the two that are still read.
const imfDate = "Mon, 02 Jan 2006 15:04:05 GMT"

var oldDates = [...]string{"Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC}

// parseDate gives seconds since 1970. It tries no form that the length rules out: a failed
// parse allocates its error.
func parseDate(s string) (int64, bool) {
	if len(s) < len(time.ANSIC) || len(s) > len("Wednesday, 02-Jan-06 15:04:05 GMT") {
		return 0, false
	}
	if len(s) == len(imfDate) {
		if t, err := time.Parse(imfDate, s); err == nil {
			return t.Unix(), true
		}
	}
	for _, layout := range oldDates {
		if t, err := time.Parse(layout, s); err == nil {
			return t.Unix(), true
		}
	}
	return 0, false
}

func formatDate(now int64) string { return time.Unix(0, now).UTC().Format(imfDate) }

const second = int64(time.Second)
