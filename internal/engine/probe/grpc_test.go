package probe

import (
	"bytes"
	"testing"
)

func TestHealthRequestIsFramed(t *testing.T) {
	if got, want := healthRequest(""), []byte{0, 0, 0, 0, 0}; !bytes.Equal(got, want) {
		t.Errorf("request for the server is %v, want %v", got, want)
	}
	if got, want := healthRequest("a.B"), []byte{0, 0, 0, 0, 5, 0x0a, 3, 'a', '.', 'B'}; !bytes.Equal(got, want) {
		t.Errorf("request for a.B is %v, want %v", got, want)
	}
}

func TestServingStatusIsRead(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   []byte
		want uint64
		bad  bool
	}{
		{"serving", []byte{0, 0, 0, 0, 2, 8, 1}, 1, false},
		{"a default is left out on the wire", []byte{0, 0, 0, 0, 0}, 0, false},
		{"other fields are passed over", []byte{0, 0, 0, 0, 8, 0x12, 1, 'x', 0x1d, 1, 2, 3, 4}, 0, false},
		{"the last one counts", []byte{0, 0, 0, 0, 4, 8, 2, 8, 1}, 1, false},
		{"compressed", []byte{1, 0, 0, 0, 2, 8, 1}, 0, true},
		{"too short for its length", []byte{0, 0, 0, 0, 3, 8, 1}, 0, true},
		{"cut in the frame", []byte{0, 0, 0}, 0, true},
		{"cut in the field", []byte{0, 0, 0, 0, 1, 8}, 0, true},
		{"a length beyond the end", []byte{0, 0, 0, 0, 3, 0x12, 9, 'x'}, 0, true},
		{"field 0", []byte{0, 0, 0, 0, 2, 0, 1}, 0, true},
		{"groups are of another age", []byte{0, 0, 0, 0, 1, 0x0b}, 0, true},
		{"nothing", nil, 0, true},
	} {
		got, err := servingStatus(tc.in)
		if got != tc.want || (err != nil) != tc.bad {
			t.Errorf("%s: got %d, %v; want %d, an error %v", tc.name, got, err, tc.want, tc.bad)
		}
	}
}

func FuzzServingStatus(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 2, 8, 1})
	f.Add([]byte{0, 0, 0, 0, 8, 0x12, 1, 'x', 0x1d, 1, 2, 3, 4})
	f.Add([]byte{0, 0, 0, 0, 11, 0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := servingStatus(b); err != nil && v != 0 {
			t.Errorf("%v gave %d with an error", b, v)
		}
	})
}
