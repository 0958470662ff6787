package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"stoa/api/fault"
)

// What crosses the wire is read on the other side as it was written.
func TestEncodeDecode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want fault.Error
		text string
	}{
		{fault.New(fault.NotFound, "saga/checkout", "not found").WithHint("stoa apply %s", "DIR"), fault.Error{Kind: fault.NotFound, Subject: "saga/checkout", Hint: "stoa apply DIR"}, "saga/checkout: not found"},
		{&fault.Error{Op: "store.commit", Kind: fault.Conflict}, fault.Error{Op: "store.commit", Kind: fault.Conflict}, "conflict"},
		{io.ErrUnexpectedEOF, fault.Error{Kind: fault.Internal}, "unexpected EOF"},
		{fmt.Errorf("while reading: %w", fault.New(fault.Denied, "x", "no").WithHint("ask")), fault.Error{Kind: fault.Denied, Hint: "ask"}, "while reading: x: no"},
	} {
		got, err := fault.Decode(fault.Encode(c.err))
		if err != nil {
			t.Fatal(err)
		}
		if got.Kind != c.want.Kind || got.Subject != c.want.Subject || got.Hint != c.want.Hint || got.Op != c.want.Op || got.Error() != c.text {
			t.Errorf("%v came back as %+v (%q)", c.err, got, got.Error())
		}
	}
}

func TestDecodeRefusesWhatIsNoFault(t *testing.T) {
	for _, text := range []string{"", "<html>", "{}", `{"error":null}`, `{"error":{"message":"x"}}`, `[1]`} {
		if f, err := fault.Decode([]byte(text)); err == nil {
			t.Errorf("Decode(%q) = %v, want an error", text, f)
		}
	}
}

// The kind and the hint are found however deep the fault is wrapped.
func TestKindAndHint(t *testing.T) {
	inner := fault.New(fault.Exhausted, "disk", "full").WithHint("free some")
	wrapped := fmt.Errorf("append: %w", inner)
	outer := &fault.Error{Kind: fault.Unavailable, Err: wrapped}
	switch {
	case fault.KindOf(nil) != "" || fault.KindOf(errors.New("x")) != fault.Internal:
		t.Error("nil has a kind, or a plain error is not internal")
	case fault.KindOf(wrapped) != fault.Exhausted || fault.KindOf(outer) != fault.Unavailable:
		t.Error("the outermost fault does not decide the kind")
	case fault.HintOf(outer) != "free some" || fault.HintOf(errors.New("x")) != "":
		t.Errorf("hint %q", fault.HintOf(outer))
	case !fault.Is(wrapped, fault.Exhausted) || fault.Is(nil, fault.Internal):
		t.Error("Is")
	}
}
