// Package client calls the operations of a running platform.
//
// An operation is named by its op.Op value from an api twin, so that request, answer
// and effect are those the platform states:
//
//	c, err := client.New("unix:/run/user/1000/stoa/3f9c….sock", client.Options{})
//	status, err := client.Call(ctx, c, workload.StatusOp, workload.StatusIn{})
//
// A fault comes back as the *fault.Error that the platform gave: same kind, subject,
// text and hint. Three faults are the client's own:
//
//	Unavailable, Op "client.dial"   nobody listens there; nothing was sent (Unreachable)
//	Unavailable                     the connection broke; sent or not, asking again is harmless
//	Unknown                         the connection broke, or time ran out, after a change was sent: it may have happened
//
// The client never repeats a request. It imports the standard library and api only, so
// that other programs may use it.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strings"
	"time"

	"stoa/api/fault"
	"stoa/api/op"
)

// MaxAnswer is the longest answer that is read, and the longest line of a stream, in bytes.
const MaxAnswer = 64 << 20

// Options tune a Client. The zero value is a good default.
type Options struct {
	DialTimeout time.Duration // 0 means 5 s
	// Answer is how long a question may go without its answer; 0 means 60 s. It does not
	// bound changes, which take as long as they take.
	Answer time.Duration
	// Idle is how long a stream may stay without a sign of life; 0 means 60 s. The
	// platform sends one every 15 s.
	Idle time.Duration
	// Header goes with every request. May be nil.
	Header http.Header
}

// A Client calls one platform. It may be used concurrently.
type Client struct {
	addr string // as given
	base string // URL without the path
	o    Options
	http *http.Client
}

// New gives a client of the platform at addr: "unix:/path/of.sock", a path that begins
// with a slash, or a base URL ("http://127.0.0.1:7070"). It opens nothing.
func New(addr string, o Options) (*Client, error) {
	if o.DialTimeout == 0 {
		o.DialTimeout = 5 * time.Second
	}
	if o.Answer == 0 {
		o.Answer = 60 * time.Second
	}
	if o.Idle == 0 {
		o.Idle = 60 * time.Second
	}
	c := &Client{addr: addr, base: "http://stoa", o: o}
	path, isUnix := strings.CutPrefix(addr, "unix:")
	isUnix = isUnix || strings.HasPrefix(addr, "/")
	if !isUnix {
		u, err := url.Parse(addr)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, fault.New(fault.Invalid, addr, "want unix:/path/of.sock or http://host:port")
		}
		c.base = u.Scheme + "://" + u.Host
	}
	d := &net.Dialer{Timeout: o.DialTimeout}
	c.http = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			MaxIdleConns:       4,
			IdleConnTimeout:    30 * time.Second, // shorter than the server's, so that the client closes first
			DisableCompression: true,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				if isUnix {
					network, address = "unix", path
					if err := checkSocket(path); err != nil {
						return nil, &dialError{err}
					}
				}
				conn, err := d.DialContext(ctx, network, address)
				if err != nil {
					return nil, &dialError{err}
				}
				return conn, nil
			},
		},
	}
	return c, nil
}

// Addr gives the address as New was given it.
func (c *Client) Addr() string { return c.addr }

// Close closes what is idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Call carries out o on c's platform.
func Call[In, Out any](ctx context.Context, c *Client, o op.Op[In, Out], in In) (Out, error) {
	var out Out
	err := c.Do(ctx, o.Name, o.Effect, in, &out)
	return out, err
}

// Follow opens the stream that o answers with. An error before the first item comes
// from Follow, a later one ends the sequence. Range over the sequence once, or cancel
// ctx: until then it holds a connection.
func Follow[In, Out any](ctx context.Context, c *Client, o op.Op[In, Out], in In) (iter.Seq2[Out, error], error) {
	lines, err := c.Stream(ctx, o.Name, o.Effect, in)
	if err != nil {
		return nil, err
	}
	return func(yield func(Out, error) bool) {
		for line, err := range lines {
			var v Out
			if err == nil {
				err = json.Unmarshal(line, &v)
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}, nil
}

// Do is Call for a caller who knows the types only at run time: in is a request
// struct, out a pointer to the answer, or nil to drop it.
func (c *Client) Do(ctx context.Context, name string, effect op.Effect, in, out any) error {
	if effect == op.Read || effect == "" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.o.Answer)
		defer cancel()
	}
	resp, err := c.send(ctx, name, effect, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	if err != nil {
		return c.broken(ctx, name, effect, err)
	}
	if len(b) > MaxAnswer {
		return &fault.Error{Op: "client.call", Subject: name, Kind: fault.Exhausted, Err: fmt.Errorf("the answer is longer than %d bytes", MaxAnswer)}
	}
	if out == nil || len(bytes.TrimSpace(b)) == 0 {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return &fault.Error{Op: "client.call", Subject: name, Kind: fault.Internal, Err: fmt.Errorf("the answer is not what %s gives: %w", name, err),
			Hint: "Use the stoa binary that the platform runs: compare stoa version with stoa status."}
	}
	return nil
}

// send gives a response whose status is 2xx, or the fault.
func (c *Client) send(ctx context.Context, name string, effect op.Effect, in any) (*http.Response, error) {
	method := op.Method(effect, reflect.TypeOf(in))
	target := c.base + "/v1/" + url.PathEscape(name)
	var body io.Reader
	if method == http.MethodGet {
		q, err := op.Query(in)
		if err != nil {
			return nil, fault.New(fault.Invalid, name, "%w", err)
		}
		if len(q) > 0 {
			target += "?" + q.Encode()
		}
	} else {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fault.New(fault.Invalid, name, "%w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fault.New(fault.Invalid, name, "%w", err)
	}
	if method != http.MethodGet {
		req.Header.Set("Content-Type", "application/json")
		req.GetBody = nil // a request that may have been read is never sent again
	}
	for k, v := range c.o.Header {
		req.Header[k] = v
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.broken(ctx, name, effect, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20)) // what is cut off is no fault and said so below
	f, err := fault.Decode(b)
	if err != nil {
		return nil, &fault.Error{Op: "client.call", Subject: c.addr, Kind: fault.Internal, Err: fmt.Errorf("what answers there is not Stoa: %s", resp.Status)}
	}
	return nil, f
}

// dialError marks a failure before anything was sent.
type dialError struct{ error }

func (e *dialError) Unwrap() error { return e.error }

// opDial is the Op of the fault that means: nobody listens.
const opDial = "client.dial"

// Unreachable says whether err means that no platform listens at the address, or none
// that this user may talk to. Nothing was sent.
func Unreachable(err error) bool {
	var f *fault.Error
	return errors.As(err, &f) && f.Op == opDial
}

// NotRunning gives the fault for which Unreachable holds, about addr.
func NotRunning(addr string, cause error) *fault.Error {
	return &fault.Error{Op: opDial, Subject: addr, Kind: fault.Unavailable, Err: cause,
		Hint: "Start the platform with stoa dev DIR or stoa server, or name its data folder with --data."}
}

// broken gives the fault for a request that got no answer.
func (c *Client) broken(ctx context.Context, name string, effect op.Effect, err error) error {
	var dial *dialError
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("%s: %w", name, context.Cause(ctx))
	case errors.As(err, &dial):
		cause := dial.error
		var f *fault.Error
		if errors.As(cause, &f) { // the socket is not to be trusted; its hint says more
			return &fault.Error{Op: opDial, Subject: f.Subject, Kind: f.Kind, Err: f.Err, Hint: f.Hint}
		}
		if errors.Is(cause, os.ErrNotExist) {
			cause = errors.New("no platform runs here")
		}
		return NotRunning(c.addr, cause)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	kind, what := fault.Unavailable, "the connection broke before the answer"
	if ctx.Err() != nil {
		kind, what = fault.Unknown, "no answer in time"
	}
	if effect != op.Read && effect != "" {
		kind = fault.Unknown
	}
	return &fault.Error{Op: "client.call", Subject: name, Kind: kind, Err: fmt.Errorf("%s: %w", what, err),
		Hint: "See with stoa status whether the platform is well, then ask again."}
}
