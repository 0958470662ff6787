package main

import "time"

// An Order from the click to the parcel.
//
//	placed --reserve--> reserved --charge--> paid --ship--> confirmed
//	  |                    |                  (from here on only forward)
//	  | short              | declined, or nobody knows
//	  v                    v
//	out_of_stock        undoing --refund, release--> declined or cancelled
//
// A step whose outcome is unknown may have happened, so it is undone like one that has.
type Order struct {
	ID       string    `json:"id"`
	Status   Status    `json:"status"`
	Reason   string    `json:"reason,omitempty"` // why it came to nothing, for machines
	Items    []Item    `json:"items"`
	Subtotal int64     `json:"subtotal"` // cents, as all amounts
	Delivery Delivery  `json:"delivery"`
	Total    int64     `json:"total"`
	Currency string    `json:"currency"`
	Customer Customer  `json:"customer"`
	Address  Address   `json:"address"`
	PlacedAt time.Time `json:"placedAt"`
	TraceID  string    `json:"traceId"`

	ChargeID       string    `json:"chargeId,omitempty"`
	TrackingNumber string    `json:"trackingNumber,omitempty"`
	Shipment       *Shipment `json:"shipment,omitempty"` // asked from shipping when the order is shown, never stored
}

// Status is where an order stands.
type Status string

const (
	Placed     Status = "placed"       // written down
	Reserved   Status = "reserved"     // the stock is held
	Paid       Status = "paid"         // the money is here: it will be sent, sooner or later
	Confirmed  Status = "confirmed"    // the parcel is with the carrier
	OutOfStock Status = "out_of_stock" // nothing was held
	Undoing    Status = "undoing"      // what was done is being taken back
	Declined   Status = "declined"     // the card was not good; nothing is held
	Cancelled  Status = "cancelled"    // someone did not answer; nothing is held or charged
)

// An Item is so many pieces of a product, at the price of the day.
type Item struct {
	SKU      string `json:"sku"`
	Title    string `json:"title"`
	Quantity int    `json:"quantity"`
	Price    int64  `json:"price"` // of one piece
	Grams    int    `json:"grams"` // of one piece
}

// Delivery is how it is sent.
type Delivery struct {
	Method string `json:"method"`
	Amount int64  `json:"amount"`
}

// Customer is whom we write to.
type Customer struct {
	Name  string `json:"name"`
	Email string `json:"email"`
}

// Address is where it goes.
type Address struct {
	Street   string `json:"street"`
	City     string `json:"city"`
	Postcode string `json:"postcode"`
	Country  string `json:"country"` // ISO 3166-1, two letters
}

// A Step is one thing to ask of another context.
type Step string

const (
	None    Step = ""
	Reserve Step = "reserve"
	Charge  Step = "charge"
	Ship    Step = "ship"
	Undo    Step = "undo" // refund what was charged, release what was held
)

// Next is the step that an order waits for.
func (o Order) Next() Step {
	switch o.Status {
	case Placed:
		return Reserve
	case Reserved:
		return Charge
	case Paid:
		return Ship
	case Undoing:
		return Undo
	}
	return None
}

// An Outcome is how a step ended.
type Outcome struct {
	Kind   OutcomeKind
	Reason string // of a refusal, or of what is not known
	Ref    string // of a success: the charge, the tracking number
}

// OutcomeKind tells a no from a silence.
type OutcomeKind int

const (
	Done    OutcomeKind = iota // it happened
	Refused                    // it did not happen
	Unknown                    // it may have happened
)

// After returns the order as it stands when step ended with out. It is pure.
func (o Order) After(step Step, out Outcome) Order {
	switch {
	case step == Reserve && out.Kind == Done:
		o.Status = Reserved
	case step == Reserve && out.Kind == Refused:
		o.Status, o.Reason = OutOfStock, out.Reason
	case step == Charge && out.Kind == Done:
		o.Status, o.ChargeID = Paid, out.Ref
	case step == Ship && out.Kind == Done:
		o.Status, o.TrackingNumber = Confirmed, out.Ref
	case step == Ship:
		// The customer has paid: it stays paid, and is tried again.
	case step == Undo && out.Kind == Done:
		o.Status = Cancelled
		if o.Reason != unavailable {
			o.Status = Declined
		}
	case step == Undo:
		// Tried again until it is done.
	default: // reserve unknown, charge refused or unknown
		o.Status, o.Reason = Undoing, out.Reason
		if out.Kind == Unknown {
			o.Reason = unavailable
		}
	}
	return o
}

// Abandon returns an order whose request died in the middle, with the card that it
// carried: what may have been done is taken back. An order that is paid goes on.
func (o Order) Abandon() Order {
	if o.Status == Placed || o.Status == Reserved {
		o.Status, o.Reason = Undoing, unavailable
	}
	return o
}

// unavailable is the reason of an order that failed because somebody did not answer.
const unavailable = "unavailable"

// Grams is what the parcel weighs.
func (o Order) Grams() (sum int) {
	for _, it := range o.Items {
		sum += it.Grams * it.Quantity
	}
	return sum
}
