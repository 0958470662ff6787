package node

import (
	"context"
	"crypto/rand"
	"encoding/base64"
)

// SecretMark is the key under which the secret of sticky cookies is kept: with the journal, which all
// nodes of a system share. It is in no document and in no snapshot.
const SecretMark = "node/secret"

// secretSize is the length of that secret in bytes.
const secretSize = 32

// secret gives the proxy the secret of the system, which the first node makes. Without it traffic
// goes on, and a cookie that says which instance answered means nothing after the next start.
func (m *Module) secret(ctx context.Context) {
	if m.p.Mark == nil || m.p.MarkOf == nil {
		return
	}
	key, err := m.kept(ctx)
	if err == nil && key == nil {
		fresh := make([]byte, secretSize)
		_, _ = rand.Read(fresh) // it does not fail
		if err = m.p.Mark(ctx, SecretMark, base64.RawStdEncoding.EncodeToString(fresh)); err == nil {
			key, err = m.kept(ctx) // another node may have been later, and so stronger
		}
	}
	switch {
	case err != nil:
		m.o.Log.Warn("the secret of sticky cookies cannot be kept; they lead nowhere after the next start", "err", err)
	case key != nil:
		m.proxy.SetSecret(key)
	}
}

// kept gives the secret that is kept, nil if there is none that can be read.
func (m *Module) kept(ctx context.Context) ([]byte, error) {
	text, err := m.p.MarkOf(ctx, SecretMark)
	if err != nil {
		return nil, err
	}
	key, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil || len(key) != secretSize {
		return nil, nil
	}
	return key, nil
}
