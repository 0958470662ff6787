package proxy

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"

	"stoa/internal/engine/flow"
)

// mirrorCaller calls as whom copies are sent, so that they count to no caller's own.
const mirrorCaller = "mirror"

// maxWaste bounds what is read of an answer that nobody wants.
const maxWaste = 1 << 20

// mirror sends a copy of a request to up, aside. Its answer is read and thrown away. It
// never waits: if too many are under way, this one is dropped.
func (b *binding) mirror(up *flow.Upstream, of *http.Request, body []byte) {
	plane := b.p.plane
	copied := (&http.Request{Method: of.Method, URL: of.URL, Host: of.Host, Header: of.Header.Clone()}).WithContext(b.ctx)
	started := b.mirrors.start(func() {
		ctx, cancel := context.WithTimeout(b.ctx, asideTime)
		defer cancel()
		y, out, ok := b.p.aside(mirrorCaller, up.Name, copied.WithContext(ctx))
		if !ok {
			plane.Mirrored(up, "failed")
			return
		}
		y.shadow = true
		sent, length := &requestBody{}, int64(len(body))
		if length > 0 {
			sent.from = io.NopCloser(bytes.NewReader(body))
		}
		resp, f := y.sends(out, sent, length)
		if f != nil {
			plane.Mirrored(up, "failed")
			y.ends(f)
			return
		}
		y.Rec.Status, y.Rec.In = resp.StatusCode, length
		grpcStatus(resp.Header, &y.Rec)
		y.Rec.Out, _ = io.CopyN(io.Discard, resp.Body, maxWaste)
		resp.Body.Close()
		y.Finish()
		plane.Mirrored(up, "sent")
	})
	if !started {
		plane.Mirrored(up, "dropped")
	}
}

// copies sends a copy of the request elsewhere, if it is one of those.
func (b *binding) copies(x *exchange, out *http.Request, body *requestBody) {
	if !x.Mirrors() {
		return
	}
	if up := x.MustMirror(out.Context()); up != nil {
		body.from = b.mirrorBody(up, out, body.from)
	}
}

// mirrorBody sends the copy when the body has been read, or at once if there is none. It
// gives the body to send on.
func (b *binding) mirrorBody(up *flow.Upstream, of *http.Request, body io.ReadCloser) io.ReadCloser {
	if body == nil {
		b.mirror(up, of, nil)
		return nil
	}
	// What is sent on may change its header: the copy has that of now.
	copied := &http.Request{Method: of.Method, URL: of.URL, Host: of.Host, Header: of.Header.Clone()}
	return &copiedBody{ReadCloser: body, end: func(whole []byte, fits bool) {
		if !fits {
			b.p.plane.Mirrored(up, "dropped")
			return
		}
		b.mirror(up, copied, whole)
	}}
}

// copiedBody keeps what is read of a body, up to flow.MaxMirrored.
type copiedBody struct {
	io.ReadCloser
	held []byte
	over bool
	once sync.Once
	end  func(whole []byte, fits bool)
}

func (c *copiedBody) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if !c.over {
		if c.held = append(c.held, p[:n]...); len(c.held) > flow.MaxMirrored {
			c.over, c.held = true, nil
		}
	}
	if err == io.EOF {
		c.once.Do(func() { c.end(c.held, !c.over) })
	}
	return n, err
}

// mirrorFast is mirror for a request of the fast engine.
func (b *binding) mirrorFast(r *http.Request, x *flow.Exchange, up *flow.Upstream, target string, body []byte) {
	if out := b.copyOf(r, x, target); out != nil {
		b.mirror(up, out, body)
	}
}

// shadowOf marks a host: "shop.example:8080" becomes "shop.example-shadow:8080".
func shadowOf(host string) string {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		return host + "-shadow"
	}
	return net.JoinHostPort(name+"-shadow", port)
}
