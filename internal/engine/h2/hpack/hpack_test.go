package hpack

import (
	"bytes"
	"fmt"
	"testing"

	"golang.org/x/net/http2/hpack"
)

func list(f *Fields) (all []string) {
	for i := range f.Len() {
		n, v := f.At(i)
		all = append(all, fmt.Sprintf("%s=%s %v", n, v, f.Never(i)))
	}
	return all
}

// What another encoder writes is read as it was meant, over the life of a table.
func TestDecodesAsOthersEncode(t *testing.T) {
	var out bytes.Buffer
	enc := hpack.NewEncoder(&out)
	var d Decoder
	for round := range 400 {
		out.Reset()
		var want []string
		if round == 200 {
			enc.SetMaxDynamicTableSize(100)
			enc.SetMaxDynamicTableSize(3000)
		}
		for i := range 12 {
			f := hpack.HeaderField{Name: fmt.Sprintf("x-field-%d", (i+round)%40), Value: fmt.Sprintf("value %d", round/(i+1)), Sensitive: i == 5}
			want = append(want, fmt.Sprintf("%s=%s %v", f.Name, f.Value, f.Sensitive))
			enc.WriteField(f)
		}
		var f Fields
		if err := d.Decode(out.Bytes(), &f); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if got := list(&f); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("round %d: got %q, want %q", round, got, want)
		}
	}
}

// What we write another decoder reads, over the life of a table and of its sizes.
func TestOthersDecodeWhatWeEncode(t *testing.T) {
	var e Encoder
	dec := hpack.NewDecoder(TableSize, nil)
	for round := range 400 {
		switch round {
		case 100:
			e.SetMax(0)
			e.SetMax(2000)
		case 200:
			e.SetMax(0)
		case 300:
			e.SetMax(1 << 20)
		}
		block := e.Begin(nil)
		var want []string
		add := func(name, value string, how How) {
			want = append(want, fmt.Sprintf("%s=%s %v", name, value, how == Never))
			block = e.Append(block, []byte(name), []byte(value), how)
		}
		add(":method", "GET", Index)
		add(":path", fmt.Sprintf("/%d", round), Plain)
		add(":status", "200", Index)
		add("authorization", "secret", Never)
		add("traceparent", fmt.Sprintf("00-%d", round), Plain)
		for i := range 10 {
			add(fmt.Sprintf("x-field-%d", (i+round)%40), fmt.Sprintf("value %d", round/(i+1)), Index)
		}
		got, err := dec.DecodeFull(block)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		var have []string
		for _, f := range got {
			have = append(have, fmt.Sprintf("%s=%s %v", f.Name, f.Value, f.Sensitive))
		}
		if fmt.Sprint(have) != fmt.Sprint(want) {
			t.Fatalf("round %d: got %q, want %q", round, have, want)
		}
	}
}

// A block with more than is allowed keeps the tables right.
func TestWhatIsTooMuchIsDroppedAndRemembered(t *testing.T) {
	var e Encoder
	var d Decoder
	block := e.Begin(nil)
	for i := range 20 {
		block = e.Append(block, fmt.Appendf(nil, "x-%d", i), bytes.Repeat([]byte("v"), 100), Index)
	}
	f := Fields{Max: 500}
	if err := d.Decode(block, &f); err != nil || !f.Over() || f.Len() != 3 {
		t.Fatalf("%d fields, over %v, %v; want 3 of them", f.Len(), f.Over(), err)
	}
	f.Reset()
	if err := d.Decode(e.Append(e.Begin(nil), []byte("x-19"), bytes.Repeat([]byte("v"), 100), Index), &f); err != nil || f.Len() != 1 || f.Over() {
		t.Fatalf("%q, over %v, %v", list(&f), f.Over(), err)
	}
	if n, _ := f.At(0); string(n) != "x-19" {
		t.Errorf("the entry is %q, want x-19", n)
	}
}

// FuzzDecode compares with the decoder of x/net on the same blocks.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{0x82, 0x86, 0x84}, []byte{0xbe})
	f.Add([]byte("\x40\x01a\x01b"), []byte("\xbe\x3f\xe1\x1f"))
	f.Add([]byte("\x10\x83\x1c\x64\x5f\x01b"), []byte("\x20\x82"))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		var d Decoder
		dec := hpack.NewDecoder(TableSize, nil)
		for _, block := range [][]byte{one, two} {
			var got Fields
			err := d.Decode(block, &got)
			want, wantErr := dec.DecodeFull(block)
			if err != nil && wantErr == nil {
				return // we take no integer of more than 28 bits, nor a resize behind a field
			}
			if err == nil && wantErr != nil {
				t.Fatalf("block %x: taken, want %v", block, wantErr)
			}
			if err != nil {
				return
			}
			var have []string
			for _, f := range want {
				have = append(have, fmt.Sprintf("%s=%s %v", f.Name, f.Value, f.Sensitive))
			}
			if fmt.Sprint(list(&got)) != fmt.Sprint(have) {
				t.Fatalf("block %x: got %q, want %q", block, list(&got), have)
			}
		}
	})
}

func BenchmarkDecodeAndEncode(b *testing.B) {
	var e Encoder
	var d Decoder
	var f Fields
	var block []byte
	b.ReportAllocs()
	for b.Loop() {
		block = e.Begin(block[:0])
		block = e.Append(block, []byte(":method"), []byte("POST"), Index)
		block = e.Append(block, []byte(":path"), []byte("/shop.Inventory/Reserve"), Index)
		block = e.Append(block, []byte(":authority"), []byte("127.0.0.1:8080"), Index)
		block = e.Append(block, []byte("content-type"), []byte("application/grpc"), Index)
		block = e.Append(block, []byte("user-agent"), []byte("grpc-go/1.85"), Index)
		block = e.Append(block, []byte("te"), []byte("trailers"), Index)
		block = e.Append(block, []byte("traceparent"), []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), Plain)
		f.Reset()
		if d.Decode(block, &f) != nil || f.Len() != 7 {
			b.Fatal("no")
		}
	}
}
