package client

import (
	"context"
	"errors"
	"io"
	"net/http"

	"stoa/api/fault"
)

// Raw sends a request to a protocol endpoint of the platform, one that is no operation:
// method, path, and a body that may be a stream of any length. The caller closes the
// answer's body, whatever its status. Platform not reachable: see Unreachable.
func (c *Client) Raw(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fault.New(fault.Invalid, path, "%w", err)
	}
	for name, values := range c.o.Header {
		req.Header[name] = values
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var dial *dialError
		if errors.As(err, &dial) {
			return nil, NotRunning(c.addr, dial.error)
		}
		return nil, &fault.Error{Op: "client.raw", Subject: path, Kind: fault.Unavailable, Err: err}
	}
	return resp, nil
}
