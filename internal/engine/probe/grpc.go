package probe

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"stoa/api/fault"
)

// grpc calls grpc.health.v1.Health/Check. The call is made by hand: one message each
// way, each of at most one field, is little beside what a gRPC library costs to link.
// The framing is that of gRPC over HTTP/2: a byte that says whether the message is
// compressed, its length in four bytes, the message; the status in a trailer.
func (p *Prober) grpc(ctx context.Context, q Probe) error {
	scheme, transport := "http", p.h2c
	if q.TLS {
		scheme, transport = "https", p.h2
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, scheme+"://"+q.Addr+"/grpc.health.v1.Health/Check",
		bytes.NewReader(healthRequest(q.Service)))
	if err != nil {
		return fault.New(fault.Invalid, q.Addr, "is no address: %v", err).WithHint("Give host:port.")
	}
	req.Header = http.Header{
		"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "User-Agent": {"stoa-probe"},
	}
	if until, ok := ctx.Deadline(); ok {
		left := max(1, time.Until(until).Milliseconds())
		req.Header.Set("Grpc-Timeout", strconv.FormatInt(min(left, 99_999_999), 10)+"m") // at most 8 digits
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if ct := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || !strings.HasPrefix(ct, "application/grpc") {
		return fault.New(fault.Unavailable, "not a gRPC answer", "%s, content type %q", resp.Status, ct).
			WithHint("See that a gRPC server listens at this port, or use another kind of probe under health.")
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return err
	}
	// An error without a message comes as headers alone ("trailers-only").
	code, message := cmp.Or(resp.Trailer.Get("Grpc-Status"), resp.Header.Get("Grpc-Status")),
		cmp.Or(resp.Trailer.Get("Grpc-Message"), resp.Header.Get("Grpc-Message"))
	if code != "0" {
		return statusError(code, message)
	}
	status, err := servingStatus(body)
	if err != nil {
		return err
	}
	if status == serving {
		return nil
	}
	if name, ok := statusNames[status]; ok {
		return errors.New(name)
	}
	return fmt.Errorf("unknown serving status %d", status)
}

// The serving statuses of grpc.health.v1.HealthCheckResponse.
const serving = 1

var statusNames = map[uint64]string{0: "UNKNOWN", serving: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}

// healthRequest is a framed HealthCheckRequest{service = 1}.
func healthRequest(service string) []byte {
	var m []byte
	if service != "" {
		m = append(m, 1<<3|2) // field 1, length-delimited
		m = binary.AppendUvarint(m, uint64(len(service)))
		m = append(m, service...)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m))), m...)
}

// servingStatus reads a framed HealthCheckResponse{status = 1}. Fields that are not
// known are passed over; a status that is not there is 0.
func servingStatus(b []byte) (status uint64, err error) {
	bad := errors.New("the health service's answer cannot be read")
	if len(b) < 5 || b[0] != 0 || uint64(binary.BigEndian.Uint32(b[1:])) != uint64(len(b)-5) {
		return 0, bad
	}
	for m := b[5:]; len(m) > 0; {
		tag, n := binary.Uvarint(m)
		if n <= 0 || tag>>3 == 0 {
			return 0, bad
		}
		m = m[n:]
		skip := 0
		switch tag & 7 {
		case 0:
			v, n := binary.Uvarint(m)
			if n <= 0 {
				return 0, bad
			}
			if tag>>3 == 1 {
				status = v
			}
			skip = n
		case 1:
			skip = 8
		case 2:
			l, n := binary.Uvarint(m)
			if n <= 0 || l > uint64(len(m)-n) {
				return 0, bad
			}
			skip = n + int(l)
		case 5:
			skip = 4
		default:
			return 0, bad
		}
		if skip > len(m) {
			return 0, bad
		}
		m = m[skip:]
	}
	return status, nil
}

// statusError explains a gRPC status other than OK.
func statusError(code, message string) error {
	if m, err := url.PathUnescape(message); err == nil { // percent-encoded on the wire
		message = m
	}
	n, err := strconv.Atoi(code)
	if err != nil {
		return fault.New(fault.Unavailable, "not a gRPC answer", "it has no status")
	}
	name := "status " + code
	if n >= 0 && n < len(codeNames) {
		name = codeNames[n]
	}
	e := fault.New(fault.Unavailable, name, "%s", cmp.Or(told([]byte(message)), "no text"))
	switch n {
	case 5:
		return e.WithHint("Its health service does not know this name: correct service under health.")
	case 12:
		return e.WithHint("The server has no health service: register grpc.health.v1.Health, or use tcp under health.")
	}
	return e
}

// codeNames are the status codes of gRPC, by number.
var codeNames = []string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
	"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
	"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}
