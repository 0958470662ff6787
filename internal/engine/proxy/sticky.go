package proxy

// SetSecret gives the secret under which cookies name endpoints; see flow.Plane.SetSecret.
func (p *Proxy) SetSecret(secret []byte) { p.plane.SetSecret(secret) }
