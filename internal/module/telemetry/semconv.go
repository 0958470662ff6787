package telemetry

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"stoa/api/telemetry"
	"stoa/internal/engine/hop"
)

// The words of OpenTelemetry's semantic conventions for HTTP and RPC spans, version 1.37, and
// ours, which begin with stoa. This file is the only place that knows them; the page is
// docs/formats/spans.md.

// methods are those that may stand in the name of a span; others are _OTHER.
var methods = []string{"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}

// grpcServerErrors are the statuses that are an error of the server.
var grpcServerErrors = []string{"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}

// describe gives a span its kind, name and attributes.
func describe(s *telemetry.Span) {
	server := s.Caller == ""
	s.Kind = "client"
	if server {
		s.Kind = "server"
	}
	a := map[string]any{}
	put := func(name, value string) {
		if value != "" {
			a[name] = value
		}
	}
	count := func(name string, n int64) {
		if n > 0 {
			a[name] = n
		}
	}
	switch {
	case s.Protocol == "tcp":
		s.Name = "tcp " + s.Callee
		a["network.transport"] = "tcp"
	case s.GRPCStatus != "":
		service, method, _ := strings.Cut(strings.TrimPrefix(s.Path, "/"), "/")
		s.Name = service + "/" + method
		put("rpc.system", "grpc")
		put("rpc.service", service)
		put("rpc.method", method)
		if code := slices.Index(grpcNames, s.GRPCStatus); code >= 0 {
			a["rpc.grpc.status_code"] = int64(code)
		} else if code, err := strconv.ParseInt(s.GRPCStatus, 10, 64); err == nil {
			a["rpc.grpc.status_code"] = code
		}
	default:
		s.Name = s.Method
		if !slices.Contains(methods, s.Method) {
			s.Name = "HTTP"
		}
		if r := httpRoute(s.Route); r != "" && server {
			s.Name += " " + r
		}
	}
	if s.Protocol != "tcp" {
		if slices.Contains(methods, s.Method) {
			put("http.request.method", s.Method)
		} else {
			put("http.request.method", "_OTHER")
			put("http.request.method_original", s.Method)
		}
		put("url.path", s.Path)
		if server {
			scheme := "http"
			if s.TLS {
				scheme = "https"
			}
			put("url.scheme", scheme)
			put("http.route", httpRoute(s.Route))
		}
		count("http.response.status_code", int64(s.Status))
		count("http.request.resend_count", int64(s.Attempts-1))
		count("http.request.body.size", s.RequestBytes)
		count("http.response.body.size", s.ResponseBytes)
		if name, version, ok := strings.Cut(s.Protocol, "/"); ok {
			put("network.protocol.name", strings.ToLower(name))
			put("network.protocol.version", strings.TrimSuffix(version, ".0"))
		}
	}
	address := s.Host // a caller outside knows no other
	if !server && s.Endpoint != "" {
		address = s.Endpoint
	}
	if host, port, err := net.SplitHostPort(address); err == nil {
		put("server.address", host)
		if n, err := strconv.ParseInt(port, 10, 64); err == nil {
			count("server.port", n)
		}
	} else {
		put("server.address", strings.Trim(address, "[]"))
	}
	put("error.type", errorType(s, server))

	put("stoa.caller", s.Caller)
	put("stoa.callee", s.Callee)
	put("stoa.route", s.Route)
	put("stoa.instance", s.Instance)
	put("stoa.reason", s.Reason)
	put("stoa.fallback", s.Fallback)
	put("stoa.fault", s.Fault)
	count("stoa.held_us", s.HeldMicros)
	s.Attributes = a
}

// httpRoute gives the path that a route of the gateway matches, of its name: the service, a
// space, host and path, then its other conditions. Names of other routes say none.
func httpRoute(name string) string {
	_, rest, _ := strings.Cut(name, " ")
	target, _, _ := strings.Cut(rest, " ")
	if i := strings.IndexByte(target, '/'); i >= 0 {
		return target[i:]
	}
	return ""
}

// errorType says why a span is an error, of few values; "" if it is none. For a server what
// the caller did wrong is no error of it.
func errorType(s *telemetry.Span, server bool) string {
	failed := s.Status >= 500 || !server && s.Status >= 400
	why := strconv.Itoa(s.Status)
	if s.GRPCStatus != "" {
		failed = s.GRPCStatus != "OK" && (!server || slices.Contains(grpcServerErrors, s.GRPCStatus))
		why = s.GRPCStatus
	}
	switch r := hop.Reason(s.Reason); {
	case r == hop.Truncated || r == hop.Cancelled, r != "" && (failed || s.Protocol == "tcp"):
		return s.Reason
	case failed:
		return why
	}
	return ""
}
