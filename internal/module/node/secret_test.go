package node

import (
	"context"
	"errors"
	"sync"
	"testing"

	"stoa/internal/engine/proxy"
)

// The secret of sticky cookies is made once and kept; what cannot be kept or read stops no traffic.
func TestSecretIsKept(t *testing.T) {
	var mu sync.Mutex
	kept := map[string]string{}
	var broken error
	ports := Ports{
		Mark: func(_ context.Context, key, value string) error {
			mu.Lock()
			defer mu.Unlock()
			kept[key] = value
			return broken
		},
		MarkOf: func(_ context.Context, key string) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			return kept[key], broken
		},
	}
	start := func() []byte {
		m := New(ports, proxy.New(proxy.Options{}), Options{})
		m.secret(t.Context())
		key, _ := m.kept(t.Context())
		return key
	}
	first := start()
	if len(first) != secretSize {
		t.Fatalf("made a secret of %d bytes", len(first))
	}
	if again := start(); string(again) != string(first) {
		t.Error("the next start made another")
	}
	kept[SecretMark] = "no secret"
	if other := start(); len(other) != secretSize || string(other) == string(first) {
		t.Errorf("of one that cannot be read came %d bytes", len(other))
	}
	broken = errors.New("the disk is full")
	start()
	ports = Ports{}
	New(ports, proxy.New(proxy.Options{}), Options{}).secret(t.Context())
}
