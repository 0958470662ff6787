package main

import (
	"strings"
	"time"
)

// A Card as the customer typed it. It lives for one request.
type Card struct {
	Number string `json:"number"` // 12 to 19 digits, spaces allowed
	Expiry string `json:"expiry"` // MM/YY
	CVC    string `json:"cvc"`    // 3 or 4 digits
}

// Rules decide about a card. They are pure: the same card, amount and day give the same answer.
type Rules struct {
	DeclineAbove int64 // cents; a larger amount is declined
}

// The numbers that are declined whatever they should pay, with the reason given.
var declined = map[string]string{
	"4000000000000002": "card_declined",
	"4000000000009995": "insufficient_funds",
	"4000000000000069": "expired_card",
}

// Decide returns the reason for which the card is declined, empty if it is good for amount (cents).
func (r Rules) Decide(c Card, amount int64, now time.Time) string {
	number := digits(c.Number)
	if reason := declined[number]; reason != "" {
		return reason
	}
	if !luhn(number) {
		return "invalid_number"
	}
	// A card is good to the last day of its month, wherever on earth that ends last.
	expiry, err := time.Parse("01/06", c.Expiry)
	if err != nil || now.After(expiry.AddDate(0, 1, 1)) {
		return "expired_card"
	}
	if r.DeclineAbove > 0 && amount > r.DeclineAbove {
		return "limit_exceeded"
	}
	return ""
}

// luhn reports whether the check digit of number is right: ISO/IEC 7812-1, annex B.
func luhn(number string) bool {
	if len(number) < 12 || len(number) > 19 {
		return false
	}
	sum := 0
	for i, c := range number {
		d := int(c - '0')
		if (len(number)-i)%2 == 0 { // every second digit, counted from the right
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// digits returns number without its spaces, or "" if there is anything else in it.
func digits(number string) string {
	number = strings.ReplaceAll(number, " ", "")
	for _, c := range number {
		if c < '0' || c > '9' {
			return ""
		}
	}
	return number
}
