package gateway

import (
	"path/filepath"

	"stoa/api/core"
	"stoa/api/gateway"
	"stoa/internal/engine/certs"
)

// certificates gives where the gateway's certificates come from, nil for clear text.
// Files are relative to the one that names them; where the folder of the System is not
// known, as it was applied under a name, they stay as they are written.
func certificates(sys core.Document, t *gateway.TLS) *certs.Config {
	if t == nil {
		return nil
	}
	file := func(name string) string {
		if name == "" || filepath.IsAbs(name) || !filepath.IsAbs(sys.Source) {
			return name
		}
		return filepath.Join(sys.Source, filepath.Dir(filepath.FromSlash(sys.File)), name)
	}
	c := &certs.Config{Cert: file(t.Cert), Key: file(t.Key), Dev: t.Dev}
	for _, p := range t.More {
		c.More = append(c.More, certs.Pair{Cert: file(p.Cert), Key: file(p.Key)})
	}
	if a := t.ACME; a != nil {
		c.ACME = &certs.ACME{
			Directory: a.Directory, CA: file(a.CA), Email: a.Email, Agree: a.Agree, Hosts: a.Hosts, Challenge: a.Challenge, Profile: a.Profile,
		}
		if a.AccountID != "" || a.AccountKey != "" {
			c.ACME.Account = &certs.Account{ID: a.AccountID, KeyFile: file(a.AccountKey)}
		}
	}
	return c
}
