package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"stoa/api/fault"
	"stoa/api/op"
)

// errIdle is why a silent stream was given up.
var errIdle = errors.New("no sign of life")

// Stream is Follow for a caller who knows the types only at run time: it gives the JSON
// of each item. A line is valid until the next one is asked for.
func (c *Client) Stream(ctx context.Context, name string, effect op.Effect, in any) (iter.Seq2[json.RawMessage, error], error) {
	sctx, cancel := context.WithCancelCause(ctx)
	idle := time.AfterFunc(c.o.Idle, func() { cancel(errIdle) })
	stop := func() { idle.Stop(); cancel(nil) }
	resp, err := c.send(sctx, name, effect, in)
	if err != nil {
		if errors.Is(context.Cause(sctx), errIdle) {
			err = c.silent(name)
		}
		stop()
		return nil, err
	}
	return func(yield func(json.RawMessage, error) bool) {
		defer stop()
		defer resp.Body.Close()
		r := bufio.NewReaderSize(resp.Body, 64<<10)
		for {
			idle.Reset(c.o.Idle)
			line, err := readLine(r)
			switch {
			case err == io.EOF:
				return
			case errors.Is(err, errLong):
				yield(nil, &fault.Error{Op: "client.stream", Subject: name, Kind: fault.Exhausted, Err: err})
				return
			case ctx.Err() != nil:
				yield(nil, fmt.Errorf("%s: %w", name, context.Cause(ctx)))
				return
			case errors.Is(context.Cause(sctx), errIdle):
				yield(nil, c.silent(name))
				return
			case err != nil:
				yield(nil, &fault.Error{Op: "client.stream", Subject: name, Kind: fault.Unavailable, Err: fmt.Errorf("the stream broke off: %w", err),
					Hint: "See with stoa status whether the platform is well, then follow again."})
				return
			case len(line) == 0: // a sign of life
				continue
			}
			if f := faultLine(line); f != nil {
				yield(nil, f)
				return
			}
			// The consumer may take its time; only the platform's silence counts.
			idle.Stop()
			if !yield(line, nil) {
				return
			}
		}
	}, nil
}

func (c *Client) silent(name string) error {
	return &fault.Error{Op: "client.stream", Subject: name, Kind: fault.Unavailable, Err: fmt.Errorf("%w for %v", errIdle, c.o.Idle),
		Hint: "See with stoa status whether the platform is well, then follow again."}
}

var errLong = fmt.Errorf("a line is longer than %d bytes", MaxAnswer)

// readLine gives the next line without its end. A last line without an end is a stream
// that broke off.
func readLine(r *bufio.Reader) ([]byte, error) {
	var long []byte
	for {
		part, err := r.ReadSlice('\n')
		switch {
		case err == nil && long == nil:
			return bytes.TrimSpace(part), nil
		case len(long)+len(part) > MaxAnswer:
			return nil, errLong
		case err == nil:
			return bytes.TrimSpace(append(long, part...)), nil
		case err == io.EOF && len(long)+len(part) > 0:
			return nil, io.ErrUnexpectedEOF
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
		long = append(long, part...)
	}
}

// faultLine gives the fault that ends a stream, or nil for an item. An item that has a
// field error of its own is told from it by its other fields, or by the lack of a kind.
func faultLine(line []byte) *fault.Error {
	if !bytes.HasPrefix(line, []byte(`{"error":`)) {
		return nil
	}
	var v map[string]json.RawMessage
	if json.Unmarshal(line, &v) != nil || len(v) != 1 {
		return nil
	}
	f, err := fault.Decode(line)
	if err != nil {
		return nil
	}
	return f
}
