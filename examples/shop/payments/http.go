package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"example.com/shop/internal/serve"
)

type chargeRequest struct {
	OrderID  string `json:"orderId"`
	Amount   int64  `json:"amount"`
	Currency string `json:"currency"`
	Card     Card   `json:"card"`
}

// Handler serves openapi.yaml.
func Handler(ledger *Ledger, rules Rules, log *slog.Logger) http.Handler {
	h := handlers{ledger, rules, log}
	mux := http.NewServeMux()
	mux.Handle("POST /charges", serve.Handle(log, h.charge))
	mux.Handle("GET /charges", serve.Handle(log, h.list))
	mux.Handle("GET /charges/{id}", serve.Handle(log, h.show))
	mux.Handle("POST /charges/{id}/refund", serve.Handle(log, h.refund))
	return mux
}

type handlers struct {
	ledger *Ledger
	rules  Rules
	log    *slog.Logger
}

func (h handlers) charge(w http.ResponseWriter, r *http.Request) error {
	key := r.Header.Get("Idempotency-Key")
	if key == "" || len(key) > 200 {
		return serve.Fail(http.StatusBadRequest, "idempotency_key", "The header Idempotency-Key is needed: 1 to 200 characters, the same when you ask again.")
	}
	var in chargeRequest
	if err := serve.Read(w, r, &in); err != nil {
		return err
	}
	if p := in.check(); p != nil {
		return p
	}
	now := time.Now().UTC()
	c := Charge{
		OrderID: in.OrderID, Amount: in.Amount, Currency: in.Currency, CreatedAt: now, Status: "succeeded",
		Last4: last4(in.Card.Number), key: key, request: in.digest(),
	}
	if c.Reason = h.rules.Decide(in.Card, in.Amount, now); c.Reason != "" {
		c.Status = "declined"
	}
	kept, err := h.ledger.Enter(r.Context(), c)
	switch {
	case errors.Is(err, errKeyUsed):
		return serve.Fail(http.StatusConflict, "key_used", "%s.", err)
	case err != nil:
		return err
	}
	h.log.InfoContext(r.Context(), "card asked", "charge", kept.ID, "order", kept.OrderID, "status", cmp.Or(kept.Reason, kept.Status))
	if kept.Status == "declined" {
		return serve.Fail(http.StatusPaymentRequired, kept.Reason, "%s", sentence[kept.Reason])
	}
	serve.JSON(w, http.StatusCreated, kept)
	return nil
}

func (h handlers) list(w http.ResponseWriter, r *http.Request) error {
	order := r.URL.Query().Get("orderId")
	if order == "" {
		return serve.Invalid([]serve.Field{{Path: "orderId", Want: "the order whose charges to list"}})
	}
	list, err := h.ledger.Of(r.Context(), order)
	if err != nil {
		return err
	}
	serve.JSON(w, http.StatusOK, map[string]any{"charges": list})
	return nil
}

func (h handlers) show(w http.ResponseWriter, r *http.Request) error {
	c, err := h.ledger.Charge(r.Context(), r.PathValue("id"))
	return h.answer(w, c, err)
}

func (h handlers) refund(w http.ResponseWriter, r *http.Request) error {
	c, err := h.ledger.Refund(r.Context(), r.PathValue("id"))
	if err == nil {
		h.log.InfoContext(r.Context(), "money given back", "charge", c.ID, "order", c.OrderID)
	}
	return h.answer(w, c, err)
}

func (h handlers) answer(w http.ResponseWriter, c Charge, err error) error {
	switch {
	case errors.Is(err, errNoCharge):
		return serve.Fail(http.StatusNotFound, "not_found", "There is no such charge.")
	case errors.Is(err, errDeclined):
		return serve.Fail(http.StatusConflict, "declined", "%s.", err)
	case err != nil:
		return err
	}
	serve.JSON(w, http.StatusOK, c)
	return nil
}

func (in chargeRequest) check() *serve.Problem {
	var wrong []serve.Field
	if in.OrderID == "" {
		wrong = append(wrong, serve.Field{Path: "orderId", Want: "the order that is paid"})
	}
	if in.Amount < 1 || in.Amount > 100_000_000 {
		wrong = append(wrong, serve.Field{Path: "amount", Want: "cents, 1 to 100000000"})
	}
	if in.Currency != "EUR" {
		wrong = append(wrong, serve.Field{Path: "currency", Want: "EUR"})
	}
	if in.Card.Number == "" {
		wrong = append(wrong, serve.Field{Path: "card.number", Want: "the digits on the card"})
	}
	return serve.Invalid(wrong)
}

// digest names what was asked, so that a key cannot be used for something else. The
// card is part of it: the digest of a number with a known check digit could be
// guessed, so only its last four digits go in.
func (in chargeRequest) digest() string {
	in.Card = Card{Number: last4(in.Card.Number)}
	b, err := json.Marshal(in)
	if err != nil {
		panic(err) // strings and integers always encode
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func last4(number string) string {
	d := digits(number)
	return d[max(0, len(d)-4):]
}

var sentence = map[string]string{
	"card_declined":      "The bank declined this card.",
	"insufficient_funds": "There is not enough money on this card.",
	"expired_card":       "This card has expired.",
	"invalid_number":     "This is not a card number.",
	"limit_exceeded":     "This card may not pay so much at once.",
}
